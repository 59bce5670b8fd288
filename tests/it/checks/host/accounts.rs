//! Users and groups in files that are put over the machine's, and a directory service that does not answer.

use holdpoint::check::{Outcome, Verdict};
use serde_json::{Value, json};

use super::super::network::{AS_NOBODY, inside, inside_of};
use super::super::{is, verdict};
use crate::harness::{Need, Registry, Sandbox};

pub fn register(r: &mut Registry) {
    use Verdict::{Fail, Pass, Unknown};
    verdict(r, "account", Pass, &[Need::Root], || {
        let whole = json!({ "user": "hpdb", "uid": 4711, "gid": "4711", "home": "/srv/db", "shell": "/bin/sh",
            "groups": ["hpdb", "hpkeys"], "locked": true });
        let seen = account("files", whole);
        is(&seen, Pass, "hpdb: uid 4711, gid 4711, home /srv/db, shell /bin/sh");
        vec![
            seen,
            account("files", json!({ "group": "hpkeys", "gid": 4712 })),
            account("files", json!({ "user": "hpopen", "locked": false })),
            account("files", json!({ "user": "hpexpired", "locked": "true" })),
            account("files", json!({ "user": "hpnobody", "exists": false })),
            account("files", json!({ "group": "hpnobody", "exists": false })),
        ]
    });
    verdict(r, "account", Fail, &[Need::Root], || {
        let number = account("files", json!({ "user": "hpdb", "uid": 104 }));
        is(&number, Fail, "hpdb has uid 4711");
        let group = account("files", json!({ "user": "hpopen", "groups": ["hpkeys"] }));
        is(&group, Fail, "hpopen is not in the group hpkeys");
        let open = account("files", json!({ "user": "hpopen", "locked": true }));
        is(&open, Fail, "it has a password");
        let gone = account("files", json!({ "user": "hpnobody" }));
        is(&gone, Fail, "no user is called hpnobody");
        vec![
            number,
            group,
            open,
            gone,
            account("files", json!({ "user": "hpdb", "groups": ["hpnowhere"] })),
            account("files", json!({ "user": "hpdb", "exists": false })),
            account("files", json!({ "group": "hpkeys", "exists": "false" })),
        ]
    });
    verdict(r, "account", Unknown, &[Need::Root], || {
        // getent says the same when the directory is down.
        let down = account("files ldap", json!({ "user": "hpnobody", "exists": false }));
        is(&down, Unknown, "ldap may be down");
        let missing = account("files ldap", json!({ "user": "hpnobody" }));
        let none = inside(
            "mount --bind /etc/hostname \"$(readlink -f \"$(command -v getent)\")\"",
            json!({ "account": { "user": "root" } }),
        );
        let unseen = account("files", json!({ "user": "hpbare", "locked": true }));
        is(&unseen, Unknown, "cannot be seen");
        // systemd's source of names makes up an entry of root for those who may not read the file.
        let root = json!({ "account": { "user": "root", "locked": true } });
        let forbidden = inside_of(&["--mount"], "true", AS_NOBODY, root);
        is(&forbidden, Unknown, "/etc/shadow: permission denied");
        vec![down, missing, none, unseen, forbidden]
    });
}

/// Measures where the names come from these sources.
fn account(sources: &str, params: Value) -> Outcome {
    let sandbox = Sandbox::new();
    let lines = |name: &str, lines: &str| {
        let machine = std::fs::read_to_string(format!("/etc/{name}")).unwrap();
        sandbox.write(name, &format!("{machine}{lines}"));
        format!("mount --bind {} /etc/{name}; ", sandbox.join(name).display())
    };
    let mut before = lines(
        "passwd",
        "hpdb:x:4711:4711::/srv/db:/bin/sh\nhpopen:x:4713:4711::/:/bin/sh\nhpexpired:x:4714:4711::/:/bin/sh\n\
         hpbare:x:4715:4711::/:/bin/sh\n",
    );
    before += &lines("group", "hpdb:x:4711:\nhpkeys:x:4712:hpdb\n");
    before += &lines(
        "shadow",
        "hpdb:!:19000:0:99999:7:::\nhpopen:$y$j9T$x:19000:0:99999:7:::\nhpexpired:$y$j9T$x:19000:0:99999:7::19001:\n",
    );
    let switch = sandbox.write("nsswitch", &format!("passwd: {sources}\ngroup: {sources}\nshadow: files\n"));
    before += &format!("mount --bind {} /etc/nsswitch.conf", switch.display());
    inside(&before, json!({ "account": params }))
}
