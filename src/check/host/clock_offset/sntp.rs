//! One question to an NTP server (RFC 5905, as a client of RFC 4330 asks it).

use std::time::{Duration, Instant, SystemTime};

use tokio::net::UdpSocket;

use super::Offset;

/// Seconds from 1900, where NTP counts from, to 1970.
const TO_UNIX: f64 = 2_208_988_800.0;

/// Asks one server. The error names it.
pub(super) async fn ask(server: &str, limit: Duration) -> Result<Offset, String> {
    let address = if has_port(server) { server.to_owned() } else { format!("{server}:123") };
    let at = |why: String| format!("{server}: {why}");
    match tokio::time::timeout(limit, exchange(&address)).await {
        Ok(Ok((seconds, uncertain))) => Ok(Offset { source: server.to_owned(), seconds, uncertain }),
        Ok(Err(why)) => Err(at(why)),
        Err(_) => Err(at(format!("no answer within {}", crate::base::Span(limit)))),
    }
}

fn has_port(server: &str) -> bool {
    server.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    })
}

async fn exchange(address: &str) -> Result<(f64, f64), String> {
    let peer = tokio::net::lookup_host(address)
        .await
        .map_err(|error| format!("cannot be looked up: {error}"))?
        .next()
        .ok_or("the name has no address")?;
    let here = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(here).await.map_err(|error| error.to_string())?;
    // Connected: packets of others, and the peer's "port unreachable", are told apart.
    socket.connect(peer).await.map_err(|error| error.to_string())?;
    let (sent, began) = (unix_now(), Instant::now());
    let mut question = [0_u8; 48];
    // Version 4, client.
    question[0] = 0x23;
    question[40..48].copy_from_slice(&stamp(sent));
    socket.send(&question).await.map_err(|error| error.to_string())?;
    let mut answer = [0_u8; 128];
    let length = socket.recv(&mut answer).await.map_err(|error| error.to_string())?;
    // Not the wall clock again: it may have been stepped in between.
    let came = sent + began.elapsed().as_secs_f64();
    read(answer.get(..length).unwrap_or_default(), &question, sent, came)
}

/// Offset and uncertainty, in seconds, from a server's answer.
fn read(answer: &[u8], question: &[u8; 48], sent: f64, came: f64) -> Result<(f64, f64), String> {
    let Some(answer) = answer.first_chunk::<48>() else { return Err("its answer is too short".to_owned()) };
    let (leap, version, mode, stratum) = (answer[0] >> 6, answer[0] >> 3 & 7, answer[0] & 7, answer[1]);
    if mode != 4 || !(3..=4).contains(&version) {
        return Err("its answer is no NTP server's".to_owned());
    }
    if answer[24..32] != question[40..48] {
        return Err("its answer is to another question".to_owned());
    }
    if stratum == 0 {
        let code: String =
            answer[12..16].iter().map(|b| char::from(*b)).filter(char::is_ascii_uppercase).collect();
        return Err(format!("it refuses ({code})"));
    }
    if leap == 3 || stratum > 15 {
        return Err("it is not synchronised itself".to_owned());
    }
    let (received, replied) = (time(answer, 32), time(answer, 40));
    if replied <= 0.0 || received <= 0.0 {
        return Err("it gives no time".to_owned());
    }
    let offset = ((received - sent) + (replied - came)) / 2.0;
    let delay = ((came - sent) - (replied - received)).max(0.0);
    let (root_delay, root_dispersion) = (short(answer, 4), short(answer, 8));
    Ok((offset, delay / 2.0 + root_delay / 2.0 + root_dispersion))
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// 32 bits of seconds, 32 bits of fraction.
fn stamp(unix: f64) -> [u8; 8] {
    let seconds = (unix + TO_UNIX).floor();
    let fraction = (unix + TO_UNIX - seconds) * 4_294_967_296.0;
    // The era after 2036 begins at zero again; the cast keeps the low bits.
    ((((seconds as u64) & 0xffff_ffff) << 32) | (fraction as u64 & 0xffff_ffff)).to_be_bytes()
}

fn word(bytes: &[u8; 48], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// A time stamp as seconds since 1970, in the era that makes it later than 2004.
fn time(bytes: &[u8; 48], at: usize) -> f64 {
    let (seconds, fraction) = (word(bytes, at), word(bytes, at + 4));
    if seconds == 0 && fraction == 0 {
        return 0.0;
    }
    let era = if seconds < 0xC000_0000 { 4_294_967_296.0 } else { 0.0 };
    f64::from(seconds) + era + f64::from(fraction) / 4_294_967_296.0 - TO_UNIX
}

/// 16 bits of seconds, 16 bits of fraction.
fn short(bytes: &[u8; 48], at: usize) -> f64 {
    f64::from(word(bytes, at)) / 65_536.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(question: &[u8; 48], received: f64, replied: f64) -> [u8; 48] {
        let mut answer = [0; 48];
        (answer[0], answer[1]) = (0x24, 2);
        answer[24..32].copy_from_slice(&question[40..48]);
        answer[32..40].copy_from_slice(&stamp(received));
        answer[40..48].copy_from_slice(&stamp(replied));
        answer
    }

    #[test]
    fn reads_an_answer_and_refuses_all_that_is_none() {
        let mut question = [0; 48];
        question[40..48].copy_from_slice(&stamp(1.8e9));
        let good = answer(&question, 1.8e9 + 540.05, 1.8e9 + 540.06);
        let (offset, uncertain) = read(&good, &question, 1.8e9, 1.8e9 + 0.11).unwrap();
        assert!((offset - 540.0).abs() < 1e-3 && (uncertain - 0.05).abs() < 1e-3, "{offset} {uncertain}");
        let wrong = |change: &dyn Fn(&mut [u8; 48])| {
            let mut bad = good;
            change(&mut bad);
            read(&bad, &question, 1.8e9, 1.8e9 + 0.1).unwrap_err()
        };
        assert_eq!(wrong(&|a| a[0] = 0xE4), "it is not synchronised itself");
        assert_eq!(wrong(&|a| a[1] = 16), "it is not synchronised itself");
        assert_eq!(wrong(&|a| a[25] ^= 1), "its answer is to another question");
        assert_eq!(wrong(&|a| a[0] = 0x23), "its answer is no NTP server's");
        assert_eq!(wrong(&|a| a[40..48].fill(0)), "it gives no time");
        assert_eq!(
            wrong(&|a| {
                a[1] = 0;
                a[12..16].copy_from_slice(b"RATE");
            }),
            "it refuses (RATE)"
        );
        assert_eq!(read(&good[..40], &question, 0.0, 0.0).unwrap_err(), "its answer is too short");
    }

    #[test]
    fn the_era_after_2036_is_read_as_such() {
        let in_2040 = 2_208_988_800.0;
        let mut bytes = [0; 48];
        bytes[32..40].copy_from_slice(&stamp(in_2040));
        assert!((time(&bytes, 32) - in_2040).abs() < 1e-3);
        assert!(has_port("h:123") && has_port("[::1]:123") && !has_port("::1") && !has_port("h"));
    }
}
