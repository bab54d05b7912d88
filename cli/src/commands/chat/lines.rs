//! Where lines come from: a terminal with editing and a history, or anything else.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, BufRead as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt},
    path::{Path, PathBuf},
};

use rustyline::{DefaultEditor, ExternalPrinter, config::Config, error::ReadlineError};
use tokio::sync::mpsc;

const HISTORY_MAX: usize = 1_000;
/// Lines that wait to be sent.
const LINES_MAX: usize = 16;
/// Longer lines are nobody's words; the server takes far less.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Lines, until the input ends. An error is the last.
pub(super) type Lines = mpsc::Receiver<anyhow::Result<String>>;

/// What prints above the line that is being typed.
pub(super) type Above = Box<dyn ExternalPrinter + Send>;

/// The lines of a file or a pipe.
pub(super) fn piped() -> Lines {
    let (sender, lines) = mpsc::channel(LINES_MAX);
    // A thread, because reading blocks and cannot be given up.
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let mut limited = io::Read::take(&mut input, LINE_BYTES_MAX);
            let read = limited.read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) => return,
                Ok(_) => String::from_utf8(line).map_err(|_| anyhow::anyhow!("a line is not UTF-8")),
                Err(error) => Err(anyhow::Error::new(error).context("the input cannot be read")),
            };
            let last = line.is_err();
            if sender.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    lines
}

/// The lines of a person, who can edit them and call back earlier ones; and, where the
/// terminal can do it, a way to print above the line that is being typed.
pub(super) fn typed(history: Option<PathBuf>) -> anyhow::Result<(Lines, Option<Above>)> {
    let config = Config::builder()
        .max_history_size(HISTORY_MAX)?
        .history_ignore_space(true)
        .auto_add_history(true)
        .build();
    let mut editor = DefaultEditor::with_config(config)?;
    let above = editor.create_external_printer().ok().map(|printer| Box::new(printer) as Above);
    // A history that cannot be kept keeps nobody from talking.
    let history = history.filter(|path| private(path).is_ok() && editor.load_history(path).is_ok());
    let (sender, lines) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        loop {
            let line = match editor.readline("> ") {
                Ok(line) => Ok(line),
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return,
                Err(error) => Err(anyhow::Error::new(error).context("the terminal cannot be read")),
            };
            if let Some(path) = &history {
                let _ = editor.append_history(path);
            }
            let last = line.is_err();
            if sender.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    Ok((lines, above))
}

/// `$XDG_STATE_HOME/steadfast/chat_history`, as the XDG rules have it.
pub(super) fn history() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("steadfast/chat_history"))
}

/// Makes the file, for nobody but its owner: people type all sorts of things.
fn private(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(PermissionsExt::from_mode(0o600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_is_for_nobody_but_its_owner_also_when_it_was_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state/steadfast/chat_history");
        let mode = || std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        private(&path).expect("made");
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("opened up");
        private(&path).expect("closed again");
        assert_eq!(mode(), 0o600);
    }
}
