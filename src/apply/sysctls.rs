//! Writing sysctls in order, and putting them back.

use std::fs::{self, OpenOptions};
use std::io;

use super::Error;
use crate::approach::SysctlKey;
use crate::diff::SysctlWrite;
use crate::live;

/// Fails where a sysctl could not be written, before anything is.
pub(super) fn can_be_written(writes: &[SysctlWrite]) -> Result<(), Error> {
    for write in writes {
        OpenOptions::new()
            .write(true)
            .open(live::sysctl_path(&write.key))
            .map_err(|source| Error::Sysctl { key: write.key.clone(), source })?;
    }
    Ok(())
}

/// Writes one.
pub(super) fn set(key: &SysctlKey, value: &str) -> io::Result<()> {
    fs::write(live::sysctl_path(key), format!("{value}\n"))
}

/// Writes them in order. On a refusal it says how many were written before it.
pub(super) fn write(writes: &[SysctlWrite]) -> Result<(), (usize, Error)> {
    for (index, write) in writes.iter().enumerate() {
        if let Err(source) = set(&write.key, &write.new) {
            return Err((index, Error::Sysctl { key: write.key.clone(), source }));
        }
    }
    Ok(())
}

/// Puts them back in reverse, and then what the switches among them have reset.
pub(super) fn undo(written: &[SysctlWrite], reset: &[(SysctlKey, String)]) -> io::Result<()> {
    for write in written.iter().rev() {
        set(&write.key, &write.old)?;
    }
    for (key, value) in reset {
        set(key, value)?;
    }
    Ok(())
}
