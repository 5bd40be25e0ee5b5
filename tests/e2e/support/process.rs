//! Child processes that end with the test binary, however it ends.
//!
//! They are started by one thread that lives as long as the process: the signal that the kernel sends at the parent's death
//! is bound to the parent's thread, and libtest runs each test in a thread of its own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, OnceLock, mpsc},
    thread,
};

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

static SPAWNER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();

/// Starts a program that is killed when this process ends.
pub fn spawn(program: &Path, prepare: impl FnOnce(&mut Command)) -> Result<Child, String> {
    // util-linux: sets the death signal and then becomes the program, so the process id is the program's.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    prepare(&mut command);
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, received) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in received {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, started) = mpsc::channel();
    let sent = spawner.lock().unwrap_or_else(std::sync::PoisonError::into_inner).send((command, answer));
    sent.map_err(|error| error.to_string())?;
    let child = started.recv().map_err(|error| error.to_string())?;
    child.map_err(|error| format!("{} (by setpriv): {error}", program.display()))
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Result<Output, String> {
    command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))
}

/// Runs a program to its end and returns what it printed; anything but success is an error with all that it said.
pub fn succeed(command: &mut Command) -> Result<String, String> {
    let output = run(command)?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    Err(format!("{command:?} failed ({})\n{out}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where this run keeps logs, caches and kubeconfigs.
pub fn scratch() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e2e-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for logs");
        path
    })
    .clone()
}
