//! A token in a file that somebody else keeps fresh, as the kubelet does for pods.
//!
//! kube's client would read such a file too, but it takes the end of the last line for
//! part of the token, waits most of a minute when the server has turned a token down
//! already, and says nothing when the file has gone.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;
use tracing::warn;

use super::telling::Telling;

/// How long a token is used before the file is read again; as in Kubernetes' own
/// clients, which take a token for good for a minute and renew it 10 s before that.
const FRESH: Duration = Duration::from_secs(50);

/// The token of the newest file that could be read.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Marked as sensitive, so that it prints nowhere.
    header: HeaderValue,
    /// When to read the file again.
    until: Instant,
    telling: Telling,
}

impl TokenFile {
    /// Reads `path` for the first time.
    ///
    /// # Errors
    /// It cannot be read, is empty, or holds what no token can be.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let header = read(path)?;
        let state = State { header, until: Instant::now() + FRESH, telling: Telling::default() };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// The header that shows the token.
    pub(super) fn header(&self) -> HeaderValue {
        let mut state = self.state();
        if Instant::now() >= state.until {
            self.renew(&mut state);
        }
        state.header.clone()
    }

    /// Takes in that the server has turned this token down.
    pub(super) fn refused(&self, header: &HeaderValue) {
        let mut state = self.state();
        // Of many requests that fail with one token the first is enough.
        if state.header == header {
            state.until = Instant::now();
        }
    }

    /// Reads the file again. One that cannot be read leaves the last token in use: it may
    /// be good for hours, and some take the file away on purpose.
    fn renew(&self, state: &mut State) {
        state.until = Instant::now() + FRESH;
        match read(&self.path) {
            Ok(header) => {
                state.header = header;
                state.telling.succeed();
            }
            Err(error) => {
                if state.telling.fail(&error.to_string()) {
                    warn!(file = %self.path.display(), %error, "cannot read the token again; keeping the last one");
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> io::Result<HeaderValue> {
    let text = fs::read_to_string(path)?;
    let token = text.trim();
    if token.is_empty() {
        return Err(io::Error::new(ErrorKind::InvalidData, "the file is empty"));
    }
    let header = HeaderValue::try_from(format!("Bearer {token}"));
    let mut header = header.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_token_is_read_again_after_a_while_and_an_old_one_is_better_than_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "first\n").unwrap();
        let token = TokenFile::open(&path).unwrap();
        fs::write(&path, "second\n").unwrap();
        assert_eq!(token.header(), "Bearer first");
        advance(FRESH).await;
        assert_eq!(token.header(), "Bearer second");
        for broken in [None, Some(""), Some(" \n"), Some("two\nlines")] {
            fs::remove_file(&path).unwrap();
            broken.map(|text| fs::write(&path, text)).transpose().unwrap();
            advance(FRESH).await;
            assert_eq!(token.header(), "Bearer second", "{broken:?}");
            fs::write(&path, "").unwrap();
        }
    }

    #[tokio::test]
    async fn a_token_that_was_turned_down_is_read_again_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "first").unwrap();
        let token = TokenFile::open(&path).unwrap();
        let first = token.header();
        fs::write(&path, "second").unwrap();
        token.refused(&first);
        assert_eq!(token.header(), "Bearer second");
        fs::write(&path, "third").unwrap();
        token.refused(&first);
        assert_eq!(token.header(), "Bearer second", "an old request says nothing about the new token");
        assert!(!format!("{token:?}").contains("second"), "{token:?}");
    }

    #[test]
    fn a_file_that_holds_no_token_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert_eq!(TokenFile::open(&path).unwrap_err().kind(), ErrorKind::NotFound);
        for text in ["", "\n", "two\nlines"] {
            fs::write(&path, text).unwrap();
            assert_eq!(TokenFile::open(&path).unwrap_err().kind(), ErrorKind::InvalidData, "{text:?}");
        }
    }
}
