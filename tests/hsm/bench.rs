//! A device with one of the tokens, and what the product says of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    modules::{Hsm, PIN, Pin},
    newer::Newer,
    support::{
        Device, Generation,
        device::THING,
        process::{run, tied},
        root,
        token::write_private,
    },
};

/// Long enough for a busy machine and a slow chip to rotate in half of it.
const LIFETIME: Duration = Duration::from_secs(12);

/// A device whose key is in the token; nothing of it runs yet but its cloud.
pub struct Bench {
    pub device: Device,
    pub hsm: Hsm,
    module: PathBuf,
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub text: String,
}

impl Bench {
    pub fn new(hsm: Hsm) -> Self {
        let scratch = crate::support::Scratch::new("hsm-device");
        let mut device = Device::below(scratch, Generation::V05, LIFETIME);
        let request = hsm.certificate_request();
        let certificate = device.scratch.join("hsm.pem");
        device.cloud.issue(&request, THING, &certificate);
        device.set("CERTIFICATE", certificate.to_str().unwrap());
        device.set("PRIVATE_KEY", hsm.uri);
        device.environment.clear();
        match hsm.pin {
            Pin::Counted => {
                let pin = device.scratch.join("pin");
                write_private(&pin, &format!("{PIN}\n"));
                device.set("PKCS11_PIN_FILE", pin.to_str().unwrap());
            }
            Pin::None => drop(device.unset("PKCS11_PIN_FILE")),
        }
        if let Some(newer) = Newer::of_environment() {
            if newer.is_provider {
                device.set("PKCS11_ROUTE", "provider");
            }
            // The gate runs it, and that root has no tools.
            let litestream = device.scratch.join("litestream-program");
            fs::copy(Generation::V05.program(), &litestream).unwrap();
            device.set("LITESTREAM", litestream.to_str().unwrap());
            let wrapper = [&newer.wrapper()[..], &[newer.root()]].concat();
            device.run_as(&wrapper, Path::new("/edgerotate"));
        }
        if !hsm.wrapper.is_empty() {
            let wrapper: Vec<&str> = hsm.wrapper.iter().map(String::as_str).collect();
            device.wrap(&wrapper, "true");
        }
        let module = hsm.module.clone();
        let mut bench = Self { device, hsm, module };
        bench.use_module(&[]);
        bench
    }

    /// The token's own module, with what it reads and further variables.
    pub fn use_module(&mut self, further: &[(&str, String)]) {
        let own = self.hsm.environment.iter().map(|(name, value)| (*name, value.clone()));
        let all = own.chain(further.iter().map(|(name, value)| (*name, value.clone())));
        let text: Vec<String> = all.map(|(name, value)| format!("{name}={value}")).collect();
        self.device.set("PKCS11_MODULE", self.module.to_str().unwrap());
        if !text.is_empty() {
            self.device.set("MODULE_ENVIRONMENT", text.join(" "));
        }
    }

    /// tests/hsm/front.c before the module; returns its log.
    pub fn use_front(&mut self, told: &str) -> PathBuf {
        let front = self.device.scratch.join("front.so");
        if !front.exists() {
            let source = root().join("tests/hsm/front.c");
            let flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"];
            run(tied("cc").args(flags).arg(&front).arg(source));
        }
        let log = self.device.scratch.join("front.log");
        fs::remove_file(&log).ok();
        let further = [
            ("FRONT_MODULE", self.module.to_str().unwrap().to_owned()),
            ("FRONT_LOG", log.to_str().unwrap().to_owned()),
            ("FRONT_US", self.hsm.sign_us.to_string()),
            ("FRONT", told.to_owned()),
        ];
        self.use_module(&further[..if told.is_empty() { 3 } else { 4 }]);
        self.device.set("PKCS11_MODULE", front.to_str().unwrap());
        log
    }

    pub fn write_pin(&self, pin: &str) {
        write_private(&self.device.scratch.join("pin"), &format!("{pin}\n"));
    }

    pub fn fetch(&self) -> Said {
        say(&mut self.device.edgerotate(&["fetch"]))
    }

    #[track_caller]
    pub fn assert_fetches(&self, when: &str) {
        let said = self.fetch();
        assert_eq!(said.code, 0, "{when}: {}", said.text);
    }

    pub fn check(&self, arguments: &[&str]) -> Said {
        say(&mut self.device.edgerotate(&[&["check"], arguments].concat()))
    }

    /// The gate, which waits for what may be late.
    pub fn start_gate(&self) -> Child {
        let mut command = self.device.edgerotate(&["check", "--gate", "--patience", "120"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// A boot: what is in memory is gone.
    pub fn boot(&self) {
        fs::remove_dir_all(&self.device.runtime_directory).unwrap();
        fs::create_dir(&self.device.runtime_directory).unwrap();
    }
}

impl Said {
    /// What a command that was started says by its end.
    pub fn of(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
        let code = output.status.code().unwrap_or_else(|| panic!("{text:?}"));
        Self { code, text: text.concat() }
    }

    /// The names in brackets at the ends of lines: what was found.
    pub fn names(&self) -> Vec<&str> {
        let name = |line: &'_ str| -> Option<(usize, usize)> {
            let end = line.trim_end().strip_suffix(']')?.len();
            Some((line[..end].rfind('[')? + 1, end))
        };
        self.text.lines().filter_map(|line| name(line).map(|(from, to)| &line[from..to])).collect()
    }

    pub fn has(&self, pattern: &str) -> bool {
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        self.text.lines().any(|line| crate::support::fits(pattern, &squeezed(line)))
    }
}

fn say(command: &mut Command) -> Said {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Said::of(command.spawn().unwrap())
}
