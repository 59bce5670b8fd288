//! What `df -B1 --output=size,used,avail` printed, read strictly: other units or other columns are not guessed at.

/// Size, used and available, in bytes.
pub(super) fn read(text: &str) -> Result<(u64, u64, u64), String> {
    let wanted = "wanted is what `df -B1 --output=size,used,avail DIRECTORY` prints";
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let header: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    if header != ["1B-blocks", "Used", "Avail"] {
        return Err(format!("it did not print the columns 1B-blocks, Used and Avail; {wanted}"));
    }
    let cells: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    if lines.next().is_some() {
        return Err(format!("it printed more than one file system; {wanted}"));
    }
    let numbers: Vec<u64> = cells.iter().filter_map(|cell| crate::check::params::whole(cell)).collect();
    match (cells.len(), numbers.as_slice()) {
        (3, &[total, used, available]) if total > 0 && used <= total && available <= total => {
            Ok((total, used, available))
        }
        _ => Err(format!("it printed no three numbers that fit together; {wanted}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_nothing_else() {
        let good = "  1B-blocks        Used      Avail\n61255492096 20000000000 38000000000\n";
        assert_eq!(read(good), Ok((61_255_492_096, 20_000_000_000, 38_000_000_000)));
        for wrong in [
            "",
            "1B-blocks Used Avail\n",
            "1K-blocks Used Avail\n100 20 80\n",
            "1B-blocks Used Avail\n100 20\n",
            "1B-blocks Used Avail\n100 20 80\n100 20 80\n",
            "1B-blocks Used Avail\n100 - -\n",
            "1B-blocks Used Avail\n0 0 0\n",
            "1B-blocks Used Avail\n100 200 80\n",
            "Filesystem 1B-blocks Used Avail\n/dev/a 100 20 80\n",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
