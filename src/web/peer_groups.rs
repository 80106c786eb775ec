//! The further groups of a process at the other end of a socket, as they were when it connected (`SO_PEERGROUPS`).
//!
//! The kernel answers only into a buffer that is large enough, and nix's own getter takes only an answer that fills its
//! buffer. So there is an option for each number of groups, and they are tried from the smallest: the first that is large
//! enough is filled. `/proc/PID/status` says less: it is another process's once the number is used again, and hidden from
//! the daemon by `ProtectProc=`.

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;
use tokio::net::UnixStream;

macro_rules! options {
    ($($name:ident $count:literal),*) => {
        $(
            #[derive(Clone, Copy, Debug)]
            struct $name;
            nix::getsockopt_impl!(
                $name, libc::SOL_SOCKET, libc::SO_PEERGROUPS, [u32; $count], GetStruct<[u32; $count]>
            );
        )*

        /// Those groups. None of them if the kernel does not say, or if there are more than 64.
        pub(super) fn of(stream: &UnixStream) -> Vec<u32> {
            $(
                match getsockopt(stream, $name) {
                    Ok(groups) => return groups.to_vec(),
                    Err(Errno::ERANGE) => {}
                    Err(error) => {
                        tracing::debug!(%error, "the groups of a program cannot be found out");
                        return Vec::new();
                    }
                }
            )*
            tracing::debug!("a program with more than 64 groups has none of them here");
            Vec::new()
        }
    };
}

#[rustfmt::skip]
options! {
    Groups0 0, Groups1 1, Groups2 2, Groups3 3, Groups4 4, Groups5 5, Groups6 6, Groups7 7,
    Groups8 8, Groups9 9, Groups10 10, Groups11 11, Groups12 12, Groups13 13, Groups14 14, Groups15 15,
    Groups16 16, Groups17 17, Groups18 18, Groups19 19, Groups20 20, Groups21 21, Groups22 22, Groups23 23,
    Groups24 24, Groups25 25, Groups26 26, Groups27 27, Groups28 28, Groups29 29, Groups30 30, Groups31 31,
    Groups32 32, Groups33 33, Groups34 34, Groups35 35, Groups36 36, Groups37 37, Groups38 38, Groups39 39,
    Groups40 40, Groups41 41, Groups42 42, Groups43 43, Groups44 44, Groups45 45, Groups46 46, Groups47 47,
    Groups48 48, Groups49 49, Groups50 50, Groups51 51, Groups52 52, Groups53 53, Groups54 54, Groups55 55,
    Groups56 56, Groups57 57, Groups58 58, Groups59 59, Groups60 60, Groups61 61, Groups62 62, Groups63 63,
    Groups64 64
}
