//! What only happens on a terminal: a pair of pseudo-terminals plays one.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use kt_proto::v1::gateway_status::State;
use rustix::{pty, termios};
use tokio::time::Instant;

use crate::{
    double::{Double, TOKEN, gateway},
    kt::{Person, RULE, pack},
};

const LONG: Duration = Duration::from_secs(20);

/// A terminal with a program on it.
struct Terminal {
    child: Child,
    master: OwnedFd,
    pieces: mpsc::Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    fn run(mut command: Command) -> Self {
        let master = pty::openpt(pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY).unwrap();
        pty::grantpt(&master).unwrap();
        pty::unlockpt(&master).unwrap();
        let name = pty::ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let size = termios::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        termios::tcsetwinsize(&master, size).unwrap();
        let slave = File::options().read(true).write(true).open(name).unwrap();
        let end = |file: &File| Stdio::from(file.try_clone().unwrap());
        command.env("TERM", "xterm").stdin(end(&slave)).stdout(end(&slave)).stderr(end(&slave));
        let child = command.spawn().unwrap();
        // The command holds its ends of the terminal; with them open the reader would never end.
        drop((command, slave));
        let (say, pieces) = mpsc::channel();
        let mut reader = File::from(master.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The other end being closed is an error (EIO) here.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if say.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, master, pieces, shown: String::new() }
    }

    /// Reads until `text` is shown.
    fn until(&mut self, text: &str) {
        while !self.shown.contains(text) {
            match self.pieces.recv_timeout(LONG) {
                Ok(piece) => self.shown.push_str(&String::from_utf8_lossy(&piece)),
                Err(error) => panic!("{error}: no `{text}` in {:?}", self.shown),
            }
        }
    }

    /// Waits until what is typed is not shown.
    fn until_silent(&self) {
        let began = Instant::now();
        while termios::tcgetattr(self.master.as_fd()).unwrap().local_modes.contains(termios::LocalModes::ECHO)
        {
            assert!(began.elapsed() < LONG, "what is typed is shown");
            std::thread::yield_now();
        }
    }

    fn types(&self, text: &str) {
        File::from(self.master.try_clone().unwrap()).write_all(text.as_bytes()).unwrap();
    }

    /// Everything that was shown, and the exit code.
    fn end(mut self) -> (String, i32) {
        let code = self.child.wait().unwrap().code().unwrap();
        while let Ok(piece) = self.pieces.recv_timeout(LONG) {
            self.shown.push_str(&String::from_utf8_lossy(&piece));
        }
        (self.shown, code)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_typed_without_being_shown() {
    let double = Double::start().await;
    let person = Person::stranger(&double);
    let server = format!("http://{}", double.addr);
    let mut terminal = Terminal::run(person.command(&["auth", "login", "--server", &server]));
    terminal.until("(not shown): ");
    terminal.until_silent();
    terminal.types(&format!("{TOKEN}\n"));
    let (shown, code) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("token for http://127.0.0.1:") && shown.contains("jane"), "{shown}");
    assert!(!shown.contains(TOKEN), "{shown}");
    assert_eq!(person.kt(&["auth", "whoami"]).code, 0, "it is stored");

    let mut terminal = Terminal::run(person.command(&["auth", "login", "--server", &server]));
    terminal.until("(not shown): ");
    terminal.until_silent();
    terminal.types("two words\n");
    let (shown, code) = terminal.end();
    assert_eq!(code, 2, "{shown}");
    assert!(shown.contains("what you typed is no token") && !shown.contains("two words"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_shows_a_bar_that_is_gone_at_the_end() {
    let double = Double::start().await;
    let person = Person::with_token(&double);
    person.write("one.yaml", &pack("1.0.0", ""));
    person.write("two.yaml", &pack("1.1.0", RULE));
    person.ok(&["pack", "publish", "one.yaml"]);
    let half = vec![gateway("a", State::Applied, 2), gateway("bb", State::Pending, 1)];
    double.roll([half]);
    let mut terminal = Terminal::run(person.command(&["pack", "publish", "two.yaml", "--wait"]));
    terminal.until("1/2 gateways");
    assert!(terminal.shown.contains("█░") || terminal.shown.contains('░'), "{:?}", terminal.shown);
    // The stream of the double ends, so that `kt` asks again and sees the rest.
    double.roll([vec![gateway("a", State::Applied, 2), gateway("bb", State::Applied, 2)]]);
    double.end_watches();
    let (shown, code) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    let (before, after) = shown.rsplit_once("\u{1b}[2K").expect("the bar is cleared");
    assert!(before.contains("1/2 gateways"), "{shown:?}");
    assert!(after.contains("enforced by 2 of 2 connected gateways"), "{shown:?}");
    assert!(!after.contains("/2 gateways"), "{shown:?}");
}
