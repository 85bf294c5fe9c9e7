//! Marks, what makes them go, and what they must survive.

use super::{attempt::attempt, *};
use crate::core::{pin_mark::Flags, secret::Secret};

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("edgerotate-refused-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

impl Directory {
    fn directories(&self) -> Directories<'_> {
        Directories { state: &self.0, runtime: &self.0 }
    }
}

fn lasting(path: &Path) -> Source {
    Source::Lasting(Identity::of(&fs::metadata(path).unwrap()))
}

/// Another time of change, however coarse the file system's clock is.
fn rewrite(path: &Path, pin: &str, seconds: u64) {
    fs::write(path, pin).unwrap();
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn applies_until_the_file_changes_and_twice_until_a_person_comes() {
    let directory = Directory::new("changes");
    let path = directory.0.join("pin");
    rewrite(&path, "648219", 1);
    let pin = Pin::File(path.clone());
    let (state, runtime) = (directory.0.join("state"), directory.0.join("run"));
    let marks = Directories { state: &state, runtime: &runtime };
    assert!(refused(&pin, marks).is_none());

    remember(Cause::PinIncorrect, lasting(&path), DateTime::UNIX_EPOCH, marks).unwrap();
    let mark = fs::read_to_string(state.join(own_files::PIN_REFUSED)).unwrap();
    assert!(!mark.contains("648219") && mark.contains("pin-incorrect"), "{mark}");
    let failure = refused(&pin, marks).unwrap().failure();
    assert_eq!(failure.cause, Cause::PinRefusedEarlier);
    assert!(failure.detail.contains("1970-01-01T00:00:00Z"), "{failure}");
    // A script that sets the mode at each boot changes no PIN.
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    assert!(refused(&pin, marks).is_some());
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

    // The same length, the same inode, another time.
    rewrite(&path, "648220", 2);
    assert!(refused(&pin, marks).is_none());
    remember(Cause::PinIncorrect, lasting(&path), DateTime::UNIX_EPOCH, marks).unwrap();
    rewrite(&path, "648221", 3);
    let failure = refused(&pin, marks).unwrap().failure();
    assert!(failure.detail.ends_with("state/pin-refused is removed"), "{failure}");

    forget(marks).unwrap();
    assert!(refused(&pin, marks).is_none());
    forget(marks).unwrap();
}

#[test]
fn stays_where_a_change_cannot_be_seen() {
    let directory = Directory::new("stays");
    let path = directory.0.join("pin");
    rewrite(&path, "648219", 1);
    let passing = Source::Passing(Identity::of(&fs::metadata(&path).unwrap()));
    for (pin, source) in [
        (Pin::Value(Secret::new("648219".to_owned())), Source::Settings),
        (Pin::File(path.clone()), passing),
    ] {
        let marks = directory.directories();
        remember(Cause::PinIncorrect, source, DateTime::UNIX_EPOCH, marks).unwrap();
        rewrite(&path, "648220", 2);
        assert!(refused(&pin, marks).is_some());
        forget(marks).unwrap();
        assert!(refused(&pin, marks).is_none());
    }
}

#[test]
fn a_change_is_believed_only_where_the_mark_was_seen() {
    let directory = Directory::new("watch");
    let file = directory.0.join("file");
    fs::write(&file, "").unwrap();
    let provider = provider(Pin::Value(Secret::new("648219".to_owned())));
    let remember =
        |marks| remember(Cause::PinIncorrect, Source::Settings, DateTime::UNIX_EPOCH, marks);

    let none = Directories { state: &file, runtime: &file };
    let mut watch = Watch::default();
    assert!(remember(none).unwrap_err().contains("restart edgerotate"));
    assert_eq!(watch.look(&provider, none), Look::Unknown);
    assert_eq!(watch.look(&provider, none), Look::Unknown, "however often");

    let marks = directory.directories();
    remember(marks).unwrap();
    assert!(matches!(watch.look(&provider, marks), Look::StillRefused(_)));
    forget(marks).unwrap();
    assert_eq!(watch.look(&provider, marks), Look::Changed);
    assert_eq!(watch.look(&provider, marks), Look::Unknown, "that was said");
}

fn provider(pin: Pin) -> Provider {
    let second = std::time::Duration::from_secs(1);
    Provider {
        host: String::new(),
        port: 443,
        role_alias: String::new(),
        thing_name: None,
        certificate: PathBuf::new(),
        key: PrivateKey::Token(crate::settings::Token {
            uri: "pkcs11:token=t;object=k".to_owned(),
            module: PathBuf::new(),
            pin,
            route: crate::settings::Route::Engine,
            module_environment: Vec::new(),
        }),
        ca_file: None,
        proxy: None,
        connect_timeout: second,
        fetch_timeout: second,
        fetch_deadline: second,
        lead: second,
        boot_spread: second,
    }
}

#[test]
fn a_mark_that_cannot_be_read_counts() {
    let directory = Directory::new("broken");
    fs::write(directory.0.join(own_files::PIN_REFUSED), "{").unwrap();
    let pin = Pin::Value(Secret::new("648219".to_owned()));
    let failure = refused(&pin, directory.directories()).unwrap().failure();
    assert!(failure.detail.contains("refused at an unknown time"), "{failure}");
}

#[test]
fn without_a_data_partition_it_lasts_until_the_boot() {
    let directory = Directory::new("fallback");
    let file = directory.0.join("file");
    fs::write(&file, "").unwrap();
    let pin = Pin::Value(Secret::new("648219".to_owned()));
    let marks = Directories { state: &file, runtime: &directory.0 };
    let words =
        remember(Cause::PinIncorrect, Source::Settings, DateTime::UNIX_EPOCH, marks).unwrap_err();
    assert!(words.starts_with("remembered until the next boot only"), "{words}");
    assert!(refused(&pin, marks).is_some());

    let marks = Directories { state: &file, runtime: &file };
    let words =
        remember(Cause::PinIncorrect, Source::Settings, DateTime::UNIX_EPOCH, marks).unwrap_err();
    assert!(words.starts_with("not remembered"), "{words}");
}

#[test]
fn a_login_without_an_answer_counts_and_one_with_an_answer_leaves_nothing() {
    let directory = Directory::new("attempts");
    let path = directory.0.join("pin");
    rewrite(&path, "648219", 1);
    let pin = Pin::File(path.clone());
    let (state, runtime) = (directory.0.join("state"), directory.0.join("run"));
    let marks = Directories { state: &state, runtime: &runtime };
    for directory in [&state, &runtime] {
        fs::create_dir(directory).unwrap();
    }
    let PrivateKey::Token(token) = provider(pin.clone()).key else { panic!("a file") };
    let login = |source, flags| {
        attempt(&token, source, std::process::id(), flags, DateTime::UNIX_EPOCH, marks)
    };
    let begin = |source| login(source, Flags::Silent);
    let files = || [&state, &runtime].map(|d| fs::read_dir(d).map_or(0, Iterator::count));

    // Neither way of a known end leaves anything of the mark.
    begin(lasting(&path)).unwrap().failed_otherwise();
    assert_eq!(files(), [0, 0]);
    begin(lasting(&path)).unwrap().accepted();
    assert!(
        !state.join(own_files::PIN_REFUSED).exists()
            && state.join(own_files::PIN_ACCEPTED).exists()
    );

    // Once accepted it may hang as often as it likes, and nothing is written to the data partition.
    let before = fs::metadata(state.join(own_files::PIN_ACCEPTED)).unwrap();
    for count in 1..=5 {
        drop(begin(lasting(&path)).unwrap());
        assert_eq!(unanswered(marks).count, count);
        assert_eq!(unanswered(marks).is_doubtful(), count >= 2);
        assert_eq!(files(), [1, 1]);
    }
    assert!(refused(&pin, marks).is_none());
    begin(lasting(&path)).unwrap().accepted();
    assert_eq!(files(), [1, 0]);
    let after = fs::metadata(state.join(own_files::PIN_ACCEPTED)).unwrap();
    assert_eq!(Identity::of(&before), Identity::of(&after));

    // But where the token's flags speak against it, it is left alone, until a person comes.
    drop(begin(lasting(&path)).unwrap());
    drop(login(lasting(&path), Flags::RefusedLately).unwrap());
    let failure = login(lasting(&path), Flags::RefusedLately).err().unwrap();
    assert_eq!(failure.cause, Cause::PinUncertain);
    assert_eq!(refused(&pin, marks).unwrap().failure().cause, Cause::PinUncertain);
    forget(marks).unwrap();
    begin(lasting(&path)).unwrap().accepted();

    // Another PIN has to prove itself; so has this one once it was refused.
    rewrite(&path, "648220", 2);
    for count in 1..=2 {
        assert!(refused(&pin, marks).is_none());
        drop(begin(lasting(&path)).unwrap());
        assert_eq!(unanswered(marks).count, count);
    }
    let failure = refused(&pin, marks).unwrap().failure();
    assert_eq!(failure.cause, Cause::PinUncertain);
    assert!(failure.detail.ends_with("state/pin-refused is removed"), "{failure}");
    forget(marks).unwrap();
    begin(lasting(&path)).unwrap().accepted();
    begin(lasting(&path)).unwrap().refused(Cause::PinIncorrect, DateTime::UNIX_EPOCH).unwrap();
    assert!(!state.join(own_files::PIN_ACCEPTED).exists());

    let failure = begin(lasting(&path)).err().unwrap();
    assert_eq!(failure.cause, Cause::PinRefusedEarlier);

    // A failure of another kind gives back the mark that was there.
    rewrite(&path, "648221", 3);
    let mark = fs::read(state.join(own_files::PIN_REFUSED)).unwrap();
    begin(lasting(&path)).unwrap().failed_otherwise();
    assert_eq!(fs::read(state.join(own_files::PIN_REFUSED)).unwrap(), mark);
    forget(marks).unwrap();

    // What can't be known again after a boot is known until then, and not on flash.
    for source in [Source::Settings, Source::Passing(Identity { inode: 1, modified: (2, 3) })] {
        forget_accepted(marks);
        begin(source).unwrap().accepted();
        assert!(!state.join(own_files::PIN_ACCEPTED).exists());
        drop(begin(source).unwrap());
        assert!(unanswered(marks).words().ends_with("a PIN that the token took before"));
        assert!(!state.join(own_files::PIN_REFUSED).exists());
        forget(marks).unwrap();
    }
    // Another daemon has other settings.
    forget_accepted(marks);
    begin(Source::Settings).unwrap().accepted();
    let other = attempt(&token, Source::Settings, 1, Flags::Silent, DateTime::UNIX_EPOCH, marks);
    drop(other.unwrap());
    assert!(unanswered(marks).words().contains("possible refusal 1 of 2"));

    let none = Directories { state: &path, runtime: &path };
    let failure =
        attempt(&token, Source::Settings, 1, Flags::Silent, DateTime::UNIX_EPOCH, none).err();
    assert_eq!(failure.unwrap().cause, Cause::PinUnguarded);
}
