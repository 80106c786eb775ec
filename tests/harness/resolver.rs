//! Names that nobody resolves: the file of host names, as only this bench sees it, is a pipe into which nobody writes.

use super::Bench;
use super::namespace::Namespace;

/// The look-up of names.
pub struct Resolver {
    namespace: Namespace,
    directory: String,
}

impl Resolver {
    /// It hangs, for every command of the bench.
    pub async fn hanging(bench: &Bench) -> Resolver {
        let directory = bench.directory.path().display().to_string();
        // Where the system asks elsewhere as well, it shall not here.
        let script = "cd \"$0\" && mkfifo hosts.hanging && echo 'hosts: files' > nsswitch && \
            { [ ! -e /etc/nsswitch.conf ] || mount --bind nsswitch /etc/nsswitch.conf; } && \
            mount --bind hosts.hanging /etc/hosts";
        Resolver { namespace: Namespace::around(bench, script, &directory).await, directory }
    }

    /// From now on these are all names that there are.
    pub async fn knows(&self, hosts: &str) {
        let script =
            "cd {directory} && echo '{hosts}' > hosts && mount --bind hosts /etc/hosts && echo mounted";
        let script = script.replace("{directory}", &self.directory).replace("{hosts}", hosts);
        assert_eq!(self.namespace.shell(&script).await.trim(), "mounted");
    }
}
