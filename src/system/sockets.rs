//! Whose the other end of a loopback connection is.

use std::{
    fs,
    net::{SocketAddr, SocketAddrV4},
};

use nix::unistd::Uid;

/// What /proc/sys/kernel/overflowuid says unless somebody set it.
const OVERFLOW_UID: u32 = 65534;

/// The user of the socket at `peer` that is connected to `local`; none where the kernel does not
/// tell, as in a user namespace of everybody who is not in it.
///
/// TCP has no SO_PEERCRED, but the table of sockets has the user of each (proc(5), /proc/net/tcp).
pub fn socket_owner(peer: SocketAddr, local: SocketAddrV4) -> Option<Uid> {
    let SocketAddr::V4(peer) = peer else { return None };
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let user = owner_in(&table, peer, local)?;
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    let overflow = fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
    let overflow = overflow.and_then(|text| text.trim().parse().ok()).unwrap_or(OVERFLOW_UID);
    is_told(user, &map, overflow).then(|| Uid::from_raw(user))
}

/// Whether the number is that user's. In a user namespace (systemd's `PrivateUsers=yes`) all users
/// that it does not map have one number in common (user_namespaces(7)), which says nothing.
fn is_told(user: u32, uid_map: &str, overflow: u32) -> bool {
    let is_in = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        u64::from(user).checked_sub(first).is_some_and(|nth| nth < count)
    };
    user != overflow && uid_map.lines().any(is_in)
}

fn owner_in(table: &str, peer: SocketAddrV4, local: SocketAddrV4) -> Option<u32> {
    let (from, to) = (written(peer), written(local));
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        (words.next()? == from && words.next()? == to).then_some(())?;
        words.nth(4)?.parse().ok()
    })
}

/// As the kernel writes it: the address as it lies in memory, the port as a number.
fn written(address: SocketAddrV4) -> String {
    let ip = u32::from_ne_bytes(address.ip().octets());
    format!("{ip:08X}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use nix::unistd::geteuid;

    use super::*;

    #[test]
    fn the_user_of_a_connections_other_end_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(local) = listener.local_addr().unwrap() else { unreachable!() };
        let _stream = TcpStream::connect(local).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(socket_owner(peer, local), Some(geteuid()));
        assert_eq!(socket_owner("127.0.0.1:1".parse().unwrap(), local), None);
    }

    #[test]
    fn names_nobody_whom_the_namespace_does_not_know() {
        let whole = "         0          0 4294967295\n";
        // As systemd writes it for PrivateUsers=yes.
        let private = "         0          0          1\n       990        990          1\n";
        for (user, map, told) in [
            (0, whole, true),
            (990, whole, true),
            (65534, whole, false),
            (0, private, true),
            (990, private, true),
            (991, private, false),
            (65534, private, false),
            (0, "", false),
            (0, "no map", false),
        ] {
            assert_eq!(is_told(user, map, 65534), told, "{user} in {map:?}");
        }
        assert!(is_told(65534, whole, 60000) && !is_told(60000, whole, 60000));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn finds_the_line_of_the_client() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
         uid  timeout inode
   0: 0100007F:23D2 00000000:0000 0A 00000000:00000000 00:00000000 00000000   990        0 1 1 0 100 0 0 10 0
   1: 0100007F:23D2 0100007F:C350 01 00000000:00000000 00:00000000 00000000   990        0 2 1 0 20 4 30 10 -1
   2: 0100007F:C350 0100007F:23D2 01 00000000:00000000 00:00000000 00000000   991        0 3 1 0 20 4 30 10 -1
";
        let (peer, local) = ("127.0.0.1:50000".parse().unwrap(), "127.0.0.1:9170".parse().unwrap());
        assert_eq!(owner_in(table, peer, local), Some(991));
    }
}
