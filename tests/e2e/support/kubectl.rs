//! kubectl, for the steps that users type.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::process::scratch;

/// kubectl with a kubeconfig and an identity.
pub struct Kubectl {
    program: PathBuf,
    arguments: Vec<String>,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub command: String,
    pub code: i32,
    pub out: String,
    pub errors: String,
}

impl Kubectl {
    pub fn new(tools: &Path, kubeconfig: &Path, identity: Option<(&str, &[&str])>) -> Self {
        let mut arguments = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--cache-dir={}", scratch().join("kubectl").display()),
        ];
        if let Some((name, groups)) = identity {
            arguments.push(format!("--as={name}"));
            arguments.extend(groups.iter().map(|group| format!("--as-group={group}")));
        }
        Self { program: tools.join("kubectl"), arguments }
    }

    /// Runs a command whose words are separated by blanks.
    pub fn run(&self, words: &str, input: &str) -> Said {
        let mut child = Command::new(&self.program)
            .args(words.split_whitespace())
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_owned();
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(input.as_bytes()); // a command that does not read its input may close it
        });
        let output = child.wait_with_output().expect("kubectl ends");
        let _ = writer.join();
        Said {
            command: format!("kubectl {words}"),
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// What it printed; the test fails where it failed.
    #[track_caller]
    pub fn expected(self) -> String {
        assert!(self.ok(), "{} failed with {}\n{}{}", self.command, self.code, self.out, self.errors);
        self.out
    }

    /// Everything it said; the test fails where it did not fail with `words`.
    #[track_caller]
    pub fn refused(self, words: &str) -> String {
        let said = format!("{}{}", self.out, self.errors);
        assert!(!self.ok(), "{} was expected to fail with {words:?}, but passed\n{said}", self.command);
        assert!(said.contains(words), "{} was expected to fail with {words:?}, but said\n{said}", self.command);
        said
    }
}
