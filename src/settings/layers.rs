//! The first step of trust: the layers are read and every key in them is a known one, or was
//! complained of.
//!
//! Nothing is known about the values yet; they may hold the PIN, so they do not print and are
//! wiped.

use std::{
    ffi::OsString,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    core::secret::Secret,
    settings::{
        env_file,
        problem::{HSM_FILE, Owner, Place, Problem, Warning, shown_key},
        spelling,
        table::{self, Setting},
    },
};

/// The files that are read where the command line names none, the weakest first, and then the
/// device's own.
const IMAGE_FILES: [&str; 2] =
    ["/usr/lib/edgerotate/edgerotate.env", "/etc/edgerotate/edgerotate.env"];

/// Stronger than the image's, and on the data partition.
const DEVICE_FILE: &str = "/data/edgerotate/device.env";

/// More than any settings file has; a wrong path must not fill the memory.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A file of settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFile {
    pub path: PathBuf,
    /// Whether its absence is an error; otherwise it is an empty layer.
    pub required: bool,
    pub owner: Owner,
}

impl LayerFile {
    /// The image's defaults and the administrator's settings, then the device's own; each may be
    /// absent.
    pub fn standard() -> Vec<Self> {
        let mut files = Self::standard_of_image();
        files.push(Self::device(DEVICE_FILE.into()));
        files
    }

    /// The image's defaults and the administrator's settings.
    pub fn standard_of_image() -> Vec<Self> {
        let hsm = Some(HSM_FILE).filter(|path| Path::new(path).exists());
        let files = hsm.into_iter().chain(IMAGE_FILES);
        files.map(|path| Self::image(path.into(), false)).collect()
    }

    /// A file that comes with the image.
    pub fn image(path: PathBuf, required: bool) -> Self {
        Self { path, required, owner: Owner::Image }
    }

    /// The device's own file, which is not there before the device is provisioned.
    pub fn device(path: PathBuf) -> Self {
        Self { path, required: false, owner: Owner::Device }
    }

    /// The files that a person named: then a missing one is an error.
    pub fn named(paths: impl IntoIterator<Item = PathBuf>) -> Vec<Self> {
        paths.into_iter().map(|path| Self::image(path, true)).collect()
    }
}

/// What the layers say, with where they say it, before any value was looked at.
#[derive(Debug)]
pub struct Layers {
    /// From the weakest to the strongest.
    pub(super) entries: Vec<Entry>,
    /// What systemd passes for `RuntimeDirectory=` and `StateDirectory=`.
    pub(super) runtime_directory: Option<String>,
    pub(super) state_directory: Option<String>,
    /// Each file that was looked at, and what came of it, for a setting that is nowhere.
    pub(super) looked_at: Vec<String>,
    /// False if a file was not read: what is missing may be in there.
    pub(super) complete: bool,
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
    /// Keys that are no settings.
    pub(super) unknown: Vec<Problem>,
    /// Files that are there and may not be read; told among the errors.
    forbidden: Vec<Problem>,
    /// Whether the device's own file is among them and there.
    device_file_is_there: bool,
}

/// One assignment of a known setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub setting: &'static Setting,
    /// The name that was used.
    pub key: &'static str,
    pub place: Place,
    pub value: Secret,
}

impl Layers {
    /// Reads the files, the weakest first, and then the environment, which is stronger than all of
    /// them.
    ///
    /// What is wrong is kept and told by [`super::Config::from_layers`] together with what is wrong
    /// with the values, so that one run shows all of it.
    pub fn read(
        files: &[LayerFile],
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let mut layers = Self::of_files(files);
        layers.add_environment(environment);
        layers.looked_at.push("the environment".to_owned());
        layers
    }

    /// Reads the files alone: where an image is built, the environment is another machine's.
    pub fn of_files(files: &[LayerFile]) -> Self {
        let mut layers = Self {
            entries: Vec::new(),
            runtime_directory: None,
            state_directory: None,
            looked_at: Vec::new(),
            complete: true,
            errors: Vec::new(),
            warnings: Vec::new(),
            unknown: Vec::new(),
            forbidden: Vec::new(),
            device_file_is_there: false,
        };
        for (layer, file) in files.iter().enumerate() {
            layers.add_file(layer, file);
        }
        layers
    }

    /// The strongest assignment of a setting.
    pub(super) fn entry(&self, setting: &'static Setting) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.setting.name == setting.name)
    }

    /// The strongest assignment of a setting under one of its names.
    pub(super) fn entry_named(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }

    /// Keys that are no settings, as they are told among the errors or the warnings.
    pub fn unknown(&self) -> &[Problem] {
        &self.unknown
    }

    /// Files that are there and may not be read by this user, as they are told among the errors.
    pub fn forbidden(&self) -> &[Problem] {
        &self.forbidden
    }

    /// Each file that was looked at, and what came of it.
    pub fn looked_at(&self) -> &[String] {
        &self.looked_at
    }

    /// Whether this device was given settings of its own.
    pub fn has_device_file(&self) -> bool {
        self.device_file_is_there
    }

    fn add_file(&mut self, layer: usize, file: &LayerFile) {
        let owner = file.owner;
        let place = |line| Place::File { layer, owner, path: file.path.clone(), line };
        let text = match read(&file.path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound && !file.required => {
                self.looked_at.push(format!("{} (not there)", file.path.display()));
                return;
            }
            Err(e) => {
                self.complete = false;
                let what = format!("cannot be read: {e}");
                let problem = Problem { place: place(None), key: None, what };
                if e.kind() == ErrorKind::PermissionDenied {
                    self.forbidden.push(problem.clone());
                }
                self.errors.push(problem);
                return;
            }
        };
        self.looked_at.push(file.path.display().to_string());
        self.device_file_is_there |= owner == Owner::Device;
        let parsed = env_file::parse(&text);
        for (line, what) in parsed.errors {
            self.errors.push(Problem { place: place(Some(line)), key: None, what });
        }
        for (line, what) in parsed.warnings {
            self.warnings.push(Warning(Problem { place: place(Some(line)), key: None, what }));
        }
        for assignment in parsed.assignments {
            let place = place(Some(assignment.line));
            let Some((setting, is_article)) = table::by_name(&assignment.key) else {
                self.unknown.push(unknown(place, &assignment.key));
                continue;
            };
            let key = own_name(setting, is_article);
            self.warn_if_twice_in_file(key, layer, assignment.line);
            self.entries.push(Entry { setting, key, place, value: assignment.value });
        }
    }

    fn warn_if_twice_in_file(&mut self, key: &'static str, this_layer: usize, line: usize) {
        let earlier = self.entries.iter_mut().rev().find(|entry| {
            matches!(entry.place, Place::File { layer, .. } if layer == this_layer)
                && entry.key == key
        });
        if let Some(earlier) = earlier {
            self.warnings.push(Warning(Problem {
                place: earlier.place.clone(),
                key: Some(key.to_owned()),
                what: format!("is set again in line {line}, which wins"),
            }));
        }
    }

    fn add_environment(&mut self, environment: impl IntoIterator<Item = (OsString, OsString)>) {
        for (key, value) in environment {
            let Some(key) = key.to_str() else { continue };
            if key == "RUNTIME_DIRECTORY" || key == "STATE_DIRECTORY" {
                // systemd separates several directories with colons; ours is the unit's first.
                let first =
                    value.to_str().and_then(|v| v.split(':').next()).filter(|v| v.starts_with('/'));
                let to = if key == "RUNTIME_DIRECTORY" {
                    &mut self.runtime_directory
                } else {
                    &mut self.state_directory
                };
                *to = first.map(str::to_owned);
                continue;
            }
            let Some((setting, is_article)) = table::by_name(key) else {
                if key.starts_with("EDGEROTATE_") {
                    self.unknown.push(unknown(Place::Environment, key));
                }
                continue;
            };
            let key = own_name(setting, is_article);
            match value.into_string() {
                Ok(value) => self.entries.push(Entry {
                    setting,
                    key,
                    place: Place::Environment,
                    value: Secret::new(value),
                }),
                Err(_) => self.errors.push(Problem {
                    place: Place::Environment,
                    key: Some(key.to_owned()),
                    what: "is not UTF-8".to_owned(),
                }),
            }
        }
    }
}

fn own_name(setting: &'static Setting, is_article: bool) -> &'static str {
    if is_article { setting.article_name.unwrap_or(setting.name) } else { setting.name }
}

fn unknown(place: Place, key: &str) -> Problem {
    let what = match spelling::nearest(key) {
        Some(known) => format!("is not a setting; is {known} meant?"),
        None => "is not a setting".to_owned(),
    };
    Problem { place, key: shown_key(key), what }
}

fn read(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::new());
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}
