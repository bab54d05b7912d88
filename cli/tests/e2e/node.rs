//! A server process and the folder that it lives in.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("STEADFAST_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_steadfast")), PathBuf::from)
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A folder in which a server keeps its data and commands are run.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    /// The binary in this folder, with nothing of the surroundings' settings.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.prepared(Command::new(binary()), args)
    }
    fn prepared(&self, mut command: Command, args: &[&str]) -> Command {
        command.args(args).current_dir(self.folder.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STEADFAST_") {
                command.env_remove(name);
            }
        }
        command
    }
    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary runs")
    }
    /// Runs a command that must succeed; its output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {said}{out}");
        out
    }
    /// Runs a command that must fail with exit code 1; what it says on stderr.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        said
    }
    pub(crate) fn token(&self, user: &str, role: &str) -> String {
        let out = self.ok(&["token", "--user", user, "--role", role]);
        out.trim().to_owned()
    }
    /// A server with the demo's people and the bench's workflow.
    pub(crate) fn serve(&self) -> Node {
        Node::start(self.command(SERVE))
    }
    /// The same, through a shell that sets something up before.
    pub(crate) fn serve_after(&self, setup: &str) -> Node {
        let script = format!("{setup}; exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(binary());
        Node::start(self.prepared(shell, SERVE))
    }
    /// Folds the log and checks everything; must pass.
    pub(crate) fn verify(&self, more: &[&str]) -> Value {
        let mut args = vec!["verify", "--json"];
        args.extend(more);
        let out = self.ok(&args);
        serde_json::from_str(&out).expect("JSON")
    }
}

/// How every server here is started.
pub(crate) const SERVE: &[&str] =
    &["serve", "--demo", "--bench", "--bench-effects", "effects.txt", "--listen", "127.0.0.1:0"];

/// A running server; killed when dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) url: String,
}

impl Node {
    /// Starts it and waits for its address. Its log goes to the folder's `log.txt`.
    pub(crate) fn start(mut command: Command) -> Self {
        let folder = command.get_current_dir().expect("a folder").to_owned();
        let log = File::options().create(true).append(true).open(folder.join("log.txt")).expect("a log file");
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the binary starts");
        let mut out = BufReader::new(child.stdout.take().expect("stdout"));
        let mut url = None;
        let mut line = String::new();
        while url.is_none() && out.read_line(&mut line).unwrap_or(0) > 0 {
            url = line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned);
            line.clear();
        }
        let Some(url) = url else {
            let status = child.wait().expect("an end");
            let log = std::fs::read_to_string(folder.join("log.txt"));
            panic!("the server ended with {status} instead of listening: {log:?}");
        };
        // Nobody reads on: what it prints later must not make it wait.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Self { child, url }
    }
    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it ends");
    }
    /// Asks it to stop, and waits.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill runs").success());
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "stopping ended with {status}");
    }
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
    pub(crate) fn alive(&mut self) -> bool {
        self.child.try_wait().expect("known").is_none()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
