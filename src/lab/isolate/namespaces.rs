//! Making the namespaces, and who is who in the user namespace.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::{Refused, STAGE, THIS, step};

/// All namespaces, with a user namespace wherever that is permitted.
pub(super) fn make() -> Result<(), Refused> {
    let (user, group) = (geteuid(), getegid());
    let all = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    let mapper = if user.is_root() { Mapper::start().ok() } else { None };
    match unshare(all | CloneFlags::CLONE_NEWUSER) {
        Ok(()) if mapper.is_some_and(Mapper::map) => {}
        Ok(()) => {
            let write = |file: &str, text: String| fs::write(Path::new("/proc/self").join(file), text);
            // An ordinary user may map a group only after this (user_namespaces(7)).
            step("cannot map groups", write("setgroups", "deny".to_owned()))?;
            step("cannot map users", write("uid_map", format!("0 {user} 1\n")))?;
            step("cannot map groups", write("gid_map", format!("0 {group} 1\n")))?;
        }
        Err(error) if !user.is_root() => return step("cannot make namespaces", Err(error)),
        // Root of the machine needs none.
        Err(_) => step("cannot make namespaces", unshare(all))?,
    }
    // What is mounted from here on is seen by nobody else.
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    step("cannot make mounts private", mount(None::<&str>, "/", None::<&str>, flags, None::<&str>))
}

/// A process that stays outside and gives the new user namespace all users and groups of the old one, each as
/// itself: root finds its files and everybody's as before. Only somebody outside may do that.
struct Mapper {
    child: Child,
    stdin: ChildStdin,
}

impl Mapper {
    fn start() -> io::Result<Self> {
        let mut command = Command::new(THIS);
        command.args([STAGE, "map"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, stdin })
    }

    /// Whether it did. Where it may not, nothing is mapped.
    fn map(mut self) -> bool {
        let asked = self.stdin.write_all(b".").is_ok();
        drop(self.stdin);
        self.child.wait().is_ok_and(|status| status.success()) && asked
    }
}

/// Maps users and groups for the process that started this one, once it says so on stdin.
///
/// # Errors
///
/// When it has gone, and when the kernel does not permit it.
pub fn map() -> io::Result<()> {
    io::stdin().lock().read_exact(&mut [0])?;
    // As /proc numbers it, which may be of another pid namespace.
    let status = fs::read_to_string("/proc/self/status")?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).map(str::trim);
    let parent = Path::new("/proc").join(parent.ok_or(io::ErrorKind::NotFound)?);
    let maps = ["uid_map", "gid_map"].map(|file| {
        let text = fs::read_to_string(Path::new("/proc/self").join(file))?;
        let lines = text.lines().filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (first, count) = (fields.next()?, fields.nth(1)?);
            Some(format!("{first} {first} {count}\n"))
        });
        Ok::<_, io::Error>((parent.join(file), lines.collect::<String>()))
    });
    for map in maps {
        let (file, text) = map?;
        fs::write(file, text)?;
    }
    Ok(())
}
