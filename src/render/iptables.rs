//! iptables
use crate::intent::Intent;
/// The whole file.
///
/// # Errors
///
/// None that input can bring about.
pub fn file(intent: &Intent<'_>) -> Result<String, askama::Error> {
    let _ = intent;
    Ok(String::new())
}
