//! Ctrl-C and SIGTERM: the first asks for a clean stop, the second ends the program at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a program that was ended by SIGINT.
const INTERRUPTED: i32 = 130;

/// A token that is cancelled at the first signal.
#[expect(clippy::exit, reason = "a second signal asks for the end at once; commits are safe to break off anywhere")]
pub(crate) fn on_signal() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupts, mut terminations) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let told = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            if told.is_cancelled() {
                std::process::exit(INTERRUPTED);
            }
            told.cancel();
        }
    });
    Ok(stop)
}
