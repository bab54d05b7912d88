use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use steadfast_core::{Coded, Fault, World, secret::Secret};

use crate::NodeKey;

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("key file {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "key file {0} does not hold a key: expected 64 hexadecimal digits; restore it from a backup, or delete it to have a new one made, which ends all tokens"
    )]
    Shape(PathBuf),
    /// Others may read it.
    #[error("key file {0} can be read by others: run `chmod 600` on it")]
    Open(PathBuf),
}

impl Coded for KeyFileError {
    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "key.unreadable",
            Self::Shape(_) => "key.invalid",
            Self::Open(_) => "key.open_to_others",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Caller
    }
}

impl NodeKey {
    /// The key in `path`; when there is none, a new one, which only the file's owner may
    /// read. Two processes that start at once end up with the same key.
    pub fn load_or_create(path: &Path, world: &World) -> Result<Self, KeyFileError> {
        if !path.exists() {
            create(path, world).map_err(|source| failed(path, source))?;
        }
        load(path).map(|secret| Self::new(&secret))
    }
}

fn failed(path: &Path, source: io::Error) -> KeyFileError {
    KeyFileError::Io { path: path.into(), source }
}

fn load(path: &Path) -> Result<Secret<[u8; 32]>, KeyFileError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path).map_err(|source| failed(path, source))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Open(path.into()));
        }
    }
    let text = fs::read_to_string(path).map_err(|source| failed(path, source))?;
    Secret::from_hex(&text).ok_or_else(|| KeyFileError::Shape(path.into()))
}

/// Written in full under another name and then linked, so that nobody reads half a key
/// and whoever comes second finds the first one's.
fn create(path: &Path, world: &World) -> io::Result<()> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder)?;
    }
    let mut key = [0; 32];
    for part in key.chunks_exact_mut(8) {
        part.copy_from_slice(&world.chance().bits().to_be_bytes());
    }
    let draft = path.with_extension(format!("{}.new", world.uuid()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let linked = options.open(&draft).and_then(|mut file| {
        writeln!(file, "{}", hex::encode(key))?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    let removed = fs::remove_file(&draft);
    linked.and(removed)?;
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_found_again() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("deep/node.key");
        let (world, _) = World::manual(1);
        NodeKey::load_or_create(&path, &world).expect("made");
        let first = load(&path).expect("found");
        NodeKey::load_or_create(&path, &world).expect("found");
        create(&path, &world).expect("the second comer finds it there");
        assert_eq!(load(&path).expect("found"), first);
        let names: Vec<_> = fs::read_dir(folder.path().join("deep"))
            .expect("folder")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        assert_eq!(names, ["node.key"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused_with_what_to_do() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("node.key");
        fs::write(&path, "short").expect("written");
        let load = || NodeKey::load_or_create(&path, &World::manual(1).0).expect_err("refused");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("mode");
        assert_eq!(load().code(), "key.open_to_others");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        assert_eq!(load().code(), "key.invalid");
    }
}
