//! Keys in tokens: the happy path, and everything that can be wrong with module, token, PIN and
//! key.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use edgerotate::{
    core::secret::Secret,
    fetch::pin_mark,
    problems::failure::Cause,
    settings::{Pin, PrivateKey, Route},
};

use crate::{
    bench::{Bench, count, leave_out, route},
    support::{device::THING, library, token::write_private},
};

// Each is a test, and shows these causes.
cases! {
    what_the_module_reads_can_stand_in_the_settings: ModuleNotStarted;
    a_module_that_is_late_spends_no_try: FetchCrashed FetchHung;
    a_token_that_is_locked_for_a_time_is_tried_again: TokenLockedOut;
    a_wrong_pin_is_tried_once: PinIncorrect PinRefusedEarlier;
    a_wrong_pin_in_the_settings_is_tried_once_too: PinIncorrect PinRefusedEarlier;
    a_refusal_without_a_data_partition_lasts_until_the_boot: PinIncorrect PinRefusedEarlier;
    what_the_token_says_of_a_pin: PinLocked PinExpired PinIncorrect PinNotSet TokenFault;
    a_login_that_ends_without_an_answer_is_tried_twice: FetchCrashed FetchHung PinUncertain LoginUnanswered;
    a_good_pin_is_left_alone_where_the_token_says_that_it_refused_it: FetchCrashed PinUncertain;
    a_locked_token_is_remembered_without_a_pin_as_well: PinLocked PinRefusedEarlier;
    a_pin_in_openssl_s_own_configuration_is_not_tried: PinNeeded;
    a_token_that_fails_while_it_signs: TokenFault;
    pin_files: PinNeeded PinFileMissing PinFileEmpty PinUnfit;
    modules_that_are_none: ModuleMissing ModuleNotLoadable ModuleNotPkcs11;
    a_module_for_another_machine: ModuleNotLoadable;
    a_module_that_does_not_start: ModuleNotStarted ModuleRefuses;
    tokens_and_keys_that_are_not_there: TokenMissing TokenAbsent TokenNotInitialized TokenFault KeyObjectMissing;
    a_uri_that_the_settings_would_refuse: KeyUriInvalid;
    two_tokens_of_one_name_are_not_both_tried: TokenAmbiguous;
    a_certificate_of_another_key: KeyMismatch;
    a_key_without_its_public_object: SignatureMismatch;
    a_key_without_its_public_object_by_the_provider: PublicKeyMissing;
    a_key_that_wants_the_pin_for_each_signature_by_the_provider: PinAtEachSignature;
    openssl_without_its_way_to_the_token: EngineMissing ProviderMissing;
}

#[test]
fn a_key_in_a_token_fetches() {
    let bench = Bench::new("engine");
    let credentials = bench.fetch_credentials();
    let issued = bench.cloud.issued();
    assert_eq!(credentials.access_key_id, issued.last().unwrap().access_key_id);
    assert_eq!(credentials.secret_access_key.expose(), issued.last().unwrap().secret_access_key);
    assert_eq!(credentials.session_token.expose(), issued.last().unwrap().session_token);
    assert_eq!(
        bench.fetch_credentials().access_key_id,
        bench.cloud.issued()[1].access_key_id,
        "and again"
    );
    assert!(!bench.mark().exists());
}

/// So that edgerotate finds the token also by hand, where no unit sets it.
fn what_the_module_reads_can_stand_in_the_settings() {
    let mut bench = Bench::new("module-environment");
    let configuration = bench.token.configuration.clone();
    bench.module_variable_in_settings("SOFTHSM2_CONF", &configuration);
    bench.fetch_credentials();
    // It wins over the environment, and is what the module goes by.
    bench.module_variable("SOFTHSM2_CONF", &configuration);
    bench.module_variable_in_settings("SOFTHSM2_CONF", Path::new("/nonexistent"));
    assert_eq!(bench.fetch_failure().cause, Cause::ModuleNotStarted);
}

#[test]
fn a_pin_in_the_settings_serves_as_well() {
    let mut bench = Bench::new("pin-value");
    bench.token_settings().pin = Pin::Value(Secret::new(bench.token.pin().to_owned()));
    bench.fetch_credentials();
}

fn a_wrong_pin_is_tried_once() {
    let mut bench = Bench::new("wrong-pin");
    write_private(&bench.token.pin_file, "0000000000\n");
    let spied = bench.scratch.join("spy.log");
    bench.module_variable("PKCS11SPY", crate::support::token::SOFTHSM);
    bench.module_variable("PKCS11SPY_OUTPUT", spied.clone());
    // It logs every PKCS#11 call, PINs included, so its log stays in the test's directory.
    bench.token_settings().module = library("pkcs11-spy.so");

    assert!(pin_mark::applies(&bench.provider, bench.marks()).is_none());
    bench.assert_fails(Cause::PinIncorrect, &["token=device", "PIN incorrect"]);
    assert_eq!(count(&spied, ": C_Login"), 1);
    for _ in 0..2 {
        bench.assert_fails(Cause::PinRefusedEarlier, &[bench.mark().to_str().unwrap()]);
    }
    assert_eq!(count(&spied, ": C_Login"), 1, "the token was not asked again");
    let refused = pin_mark::applies(&bench.provider, bench.marks()).unwrap();
    assert_eq!(refused.failure().cause, Cause::PinRefusedEarlier);

    // Whoever corrects the file has nothing else to do.
    write_private(&bench.token.pin_file, &format!("{}\n", bench.token.pin()));
    let changed = pin_mark::applies(&bench.provider, bench.marks()).is_none();
    // On tmpfs a file is new at each boot: there a person removes the mark.
    if !changed {
        fs::remove_file(bench.mark()).unwrap();
    }
    bench.fetch_credentials();
    assert!(!bench.mark().exists());
    assert_eq!(count(&spied, ": C_Login"), 2);
}

fn a_wrong_pin_in_the_settings_is_tried_once_too() {
    let mut bench = Bench::new("wrong-pin-value");
    let log = bench.shim("");
    bench.token_settings().pin = Pin::Value(Secret::new("0000000000".to_owned()));
    bench.assert_fails(Cause::PinIncorrect, &[]);
    bench.token_settings().pin = Pin::Value(Secret::new(bench.token.pin().to_owned()));
    bench.assert_fails(Cause::PinRefusedEarlier, &["pin-refused is removed"]);
    assert_eq!(count(&log, "C_Login"), 1);
    fs::remove_file(bench.mark()).unwrap();
    bench.fetch_credentials();
}

fn a_refusal_without_a_data_partition_lasts_until_the_boot() {
    let mut bench = Bench::new("unwritable-state");
    let log = bench.shim("");
    write_private(&bench.token.pin_file, "0000000000\n");
    // A file where the directory should be: not even root can write into it.
    bench.launcher.state_directory = bench.token.pin_file.join("state");
    bench.assert_fails(Cause::PinIncorrect, &["remembered until the next boot only"]);
    bench.assert_fails(Cause::PinRefusedEarlier, &["run/pin-refused"]);
    assert_eq!(count(&log, "C_Login"), 1);
}

fn what_the_token_says_of_a_pin() {
    for (behaviour, cause, remembered) in [
        ("pin-locked-for-good", Cause::PinLocked, true),
        ("pin-expired", Cause::PinExpired, true),
        ("pin-length", Cause::PinIncorrect, true),
        ("no-user-pin", Cause::PinNotSet, false),
        ("login-fault", Cause::TokenFault, false),
    ] {
        let mut bench = Bench::new(behaviour);
        let log = bench.shim(behaviour);
        bench.assert_fails(cause, &[]);
        assert_eq!(bench.mark().exists(), remembered, "{behaviour}");
        assert_eq!(count(&log, "C_Login"), 1, "{behaviour}");
    }
}

fn a_login_that_ends_without_an_answer_is_tried_twice() {
    for (behaviour, cause) in
        [("login-abort", Cause::FetchCrashed), ("login-hang", Cause::FetchHung)]
    {
        let mut bench = Bench::new(behaviour);
        let log = bench.shim(behaviour);
        bench.provider.fetch_timeout = Duration::from_secs(1);
        bench.provider.fetch_deadline = Duration::from_secs(3);
        bench.assert_fails(cause, &["may have refused the PIN: possible refusal 1 of 2"]);
        bench.assert_fails(cause, &["possible refusal 2 of 2"]);
        for _ in 0..2 {
            bench.assert_fails(Cause::PinUncertain, &["pin-refused is removed"]);
        }
        assert_eq!(count(&log, "C_Login"), 2, "{behaviour}");

        // A person looks, and mends the module. Then the PIN is known to be good, and a bus may
        // hang.
        fs::remove_file(bench.mark()).unwrap();
        bench.provider.fetch_timeout = Duration::from_secs(30);
        bench.provider.fetch_deadline = Duration::from_secs(60);
        bench.set_variable("SHIM", "");
        bench.fetch_credentials();
        bench.set_variable("SHIM", behaviour);
        bench.provider.fetch_timeout = Duration::from_secs(1);
        bench.provider.fetch_deadline = Duration::from_secs(3);
        bench.assert_fails(cause, &["1 in a row, with a PIN that the token took before"]);
        for _ in 0..2 {
            // Slowly from now on.
            bench.assert_fails(Cause::LoginUnanswered, &["in a row"]);
        }
        assert!(!bench.mark().exists(), "nothing is written to the data partition");
        bench.set_variable("SHIM", "");
        bench.provider.fetch_timeout = Duration::from_secs(30);
        bench.provider.fetch_deadline = Duration::from_secs(60);
        bench.fetch_credentials();
    }
}

/// The token's PIN was changed behind an unchanged file, and the module dies on each refusal.
fn a_good_pin_is_left_alone_where_the_token_says_that_it_refused_it() {
    let mut bench = Bench::new("changed-behind");
    let log = bench.shim("");
    bench.fetch_credentials();
    let logins = count(&log, "C_Login");
    bench.set_variable("SHIM", "login-refused-abort");
    bench.assert_fails(Cause::FetchCrashed, &["1 in a row"]);
    assert_eq!(bench.fetch_failure().cause, Cause::LoginUnanswered);
    for _ in 0..2 {
        bench.assert_fails(Cause::PinUncertain, &["pin-refused is removed"]);
    }
    assert_eq!(count(&log, "C_Login"), logins + 2);
}

/// In C_Initialize, and while slots are listed: nothing of the PIN was in it.
fn a_module_that_is_late_spends_no_try() {
    for (behaviour, cause) in [
        ("abort", Cause::FetchCrashed),
        ("hang", Cause::FetchHung),
        ("slots-abort", Cause::FetchCrashed),
    ] {
        let mut bench = Bench::new(&format!("late-{behaviour}"));
        let log = bench.shim(behaviour);
        bench.provider.fetch_timeout = Duration::from_secs(1);
        bench.provider.fetch_deadline = Duration::from_secs(3);
        for _ in 0..3 {
            bench.assert_fails(cause, &[]);
        }
        assert!(!bench.mark().exists());
        bench.set_variable("SHIM", "");
        bench.provider.fetch_timeout = Duration::from_secs(30);
        bench.provider.fetch_deadline = Duration::from_secs(60);
        bench.fetch_credentials();
        assert_eq!(count(&log, "C_Login"), 1);
    }
}

/// As a TPM is: no flag shows it, and it passes.
fn a_token_that_is_locked_for_a_time_is_tried_again() {
    for was_accepted in [true, false] {
        let mut bench = Bench::new("locked-out");
        bench.shim("");
        if was_accepted {
            bench.fetch_credentials();
        }
        bench.set_variable("SHIM", "pin-locked");
        for _ in 0..3 {
            bench
                .assert_fails(Cause::TokenLockedOut, &["tpm2_dictionarylockout", "CKR_PIN_LOCKED"]);
            assert!(!bench.mark().exists());
        }
        bench.set_variable("SHIM", "");
        bench.fetch_credentials();
    }
}

fn a_locked_token_is_remembered_without_a_pin_as_well() {
    let mut bench = Bench::new("locked-no-pin");
    let log = bench.shim("token-locked");
    bench.token_settings().pin = Pin::None;
    bench.assert_fails(Cause::PinLocked, &["as it says itself"]);
    bench.assert_fails(Cause::PinRefusedEarlier, &["pin-refused is removed"]);
    assert_eq!(count(&log, "C_Initialize"), 1, "the token is left alone");
    assert_eq!(count(&log, "C_Login"), 0);
}

fn a_pin_in_openssl_s_own_configuration_is_not_tried() {
    let mut bench = Bench::new("openssl-cnf");
    let log = bench.shim("");
    let configuration = bench.scratch.join("openssl.cnf");
    let text = "openssl_conf = all\n[all]\nengines = engines\n[engines]\npkcs11 = pkcs11\n\
                [pkcs11]\nengine_id = pkcs11\nPIN = 11111111\ninit = 0\n";
    fs::write(&configuration, text).unwrap();
    bench.launcher.environment.push(("OPENSSL_CONF".into(), configuration.into()));
    bench.fetch_credentials();
    let logins = count(&log, "C_Login");
    bench.token_settings().pin = Pin::None;
    for _ in 0..2 {
        bench.assert_fails(Cause::PinNeeded, &[]);
    }
    assert_eq!(count(&log, "C_Login"), logins);
}

fn a_token_that_fails_while_it_signs() {
    let mut bench = Bench::new("sign-fault");
    bench.shim("sign-fault");
    bench.assert_fails(Cause::TokenFault, &["while it signed"]);
}

fn pin_files() {
    let mut bench = Bench::new("pin-files");
    let log = bench.shim("");
    bench.token_settings().pin = Pin::None;
    bench.assert_fails(Cause::PinNeeded, &[]);
    bench.token_settings().pin = Pin::File("/nonexistent/pin".into());
    bench.assert_fails(Cause::PinFileMissing, &["/nonexistent/pin"]);
    let path = bench.scratch.join("other-pin");
    bench.token_settings().pin = Pin::File(path.clone());
    fs::write(&path, "\n").unwrap();
    bench.assert_fails(Cause::PinFileEmpty, &[]);
    for (text, words) in [
        ("one\ntwo\n", "more than one line"),
        ("\u{feff}1234\n", "byte order mark"),
        (" 1234\n", "blank before or after it"),
        ("\"1234\"\n", "in quotes"),
    ] {
        fs::write(&path, text).unwrap();
        bench.assert_fails(Cause::PinUnfit, &[words]);
    }
    assert_eq!(count(&log, "C_Login"), 0, "no token counts a login that none of these was");
    assert!(!bench.mark().exists());
}

fn modules_that_are_none() {
    let mut bench = Bench::new("modules");
    bench.token_settings().module = "/usr/lib/no-such-module.so".into();
    bench.assert_fails(Cause::ModuleMissing, &["/usr/lib/no-such-module.so"]);

    let text = bench.scratch.join("text.so");
    fs::write(&text, "no library\n".repeat(100)).unwrap();
    bench.token_settings().module = text;
    bench.assert_fails(Cause::ModuleNotLoadable, &["text.so (", "invalid ELF header"]);

    bench.token_settings().module = library("libm.so.6");
    bench.assert_fails(Cause::ModuleNotPkcs11, &["libm.so.6"]);
    assert!(!bench.mark().exists());
}

fn a_module_for_another_machine() {
    let mut bench = Bench::new("other-machine");
    let mut elf = fs::read(crate::support::token::SOFTHSM).unwrap();
    // e_machine: EM_AARCH64
    elf[18..20].copy_from_slice(&183_u16.to_le_bytes());
    let path = bench.scratch.join("aarch64.so");
    fs::write(&path, elf).unwrap();
    bench.token_settings().module = path;
    bench.assert_fails(
        Cause::ModuleNotLoadable,
        &["aarch64.so (it is for 64-bit ARM, this device is "],
    );
}

fn a_module_that_does_not_start() {
    let mut bench = Bench::new("no-start");
    bench.shim("no-start");
    bench.assert_fails(
        Cause::ModuleNotStarted,
        &[
            "shim.so (C_Initialize answers CKR_DEVICE_ERROR (0x30))",
            "the module printed: looking | no chip",
        ],
    );
    bench.set_variable("SHIM", "bad-arguments");
    bench.assert_fails(Cause::ModuleRefuses, &["CKR_ARGUMENTS_BAD (0x7)"]);
    // SoftHSM without its configuration.
    let mut bench = Bench::new("no-configuration");
    bench.launcher.environment =
        vec![("SOFTHSM2_CONF".into(), "/nonexistent/softhsm2.conf".into())];
    bench.assert_fails(Cause::ModuleNotStarted, &["libsofthsm2.so"]);
}

fn tokens_and_keys_that_are_not_there() {
    let mut bench = Bench::new("labels");
    let uri = bench.token.key_uri();
    bench.token_settings().uri = uri.replace("token=device", "token=other");
    bench.assert_fails(Cause::TokenMissing, &["token=other", "sees \"device\";"]);
    bench.token_settings().uri = uri.replace("object=device-key", "object=other");
    bench.assert_fails(Cause::KeyObjectMissing, &["object=other"]);
    assert!(!bench.mark().exists());

    bench.token_settings().uri = uri;
    let log = bench.shim("no-slots");
    bench.assert_fails(Cause::TokenAbsent, &["sees none", "pcscd"]);
    bench.set_variable("SHIM", "slots-fault");
    bench.assert_fails(Cause::TokenFault, &["C_GetSlotList answers CKR_DEVICE_ERROR (0x30)"]);
    bench.set_variable("SHIM", "info-fault");
    bench.assert_fails(Cause::TokenFault, &["C_GetTokenInfo answers CKR_DEVICE_ERROR (0x30)"]);
    bench.set_variable("SHIM", "blank");
    bench.assert_fails(Cause::TokenNotInitialized, &["that is not initialized in slot"]);
    assert_eq!(count(&log, "C_Login"), 0);
}

fn a_uri_that_the_settings_would_refuse() {
    if route() == Route::Provider {
        return leave_out("OpenSSL's provider takes it for a name");
    }
    let mut bench = Bench::new("uri");
    bench.token_settings().uri = "pkcs11:token=device;object=%zz".to_owned();
    bench.assert_fails(Cause::KeyUriInvalid, &[]);
    assert!(!bench.mark().exists());
}

fn two_tokens_of_one_name_are_not_both_tried() {
    let mut bench = Bench::new("two-tokens");
    let log = bench.shim("");
    bench.token.initialise_another();
    bench.assert_fails(Cause::TokenAmbiguous, &["fits 2 tokens"]);
    assert_eq!(count(&log, "C_Login"), 0);
}

fn a_certificate_of_another_key() {
    let mut bench = Bench::new("mismatch");
    bench.token.generate_key("second-key", "02");
    let request = bench.token.certificate_request_of("second-key", THING);
    let path: PathBuf = bench.scratch.join("second.pem");
    bench.cloud.issue(&request, THING, &path);
    bench.provider.certificate = path;
    bench.assert_fails(Cause::KeyMismatch, &["second.pem", "object=device-key"]);
    assert!(bench.cloud.requests().is_empty(), "nothing was asked with it");

    let mut bench = Bench::with_key_file("mismatch-file");
    let (other, _) = bench.make_key("other");
    bench.provider.key = PrivateKey::File(other);
    bench.assert_fails(Cause::KeyMismatch, &["other.pem"]);
}

/// Vendors' tools and imports leave the private key alone. The certificate has the other half.
fn a_key_without_its_public_object() {
    if route() == Route::Provider {
        return leave_out("OpenSSL's provider gives no key to complete");
    }
    let mut bench = Bench::new("no-public-object");
    bench.token.generate_key("second-key", "02");
    let request = bench.token.certificate_request_of("second-key", THING);
    let other = bench.scratch.join("second.pem");
    bench.cloud.issue(&request, THING, &other);
    bench.token.delete_public_key("device-key");
    bench.fetch_credentials();
    bench.provider.certificate = other;
    bench.assert_fails(Cause::SignatureMismatch, &["second.pem", "object=device-key"]);
    assert_eq!(bench.cloud.fetches(), 1, "nothing was asked with it");
    // Without any certificate there is nothing to hold the signature against; a look says what is
    // missing, and no more.
    bench.provider.certificate = bench.scratch.join("nowhere.pem");
    let looked = bench.look();
    assert_eq!(looked.certificate.unwrap().unwrap_err().cause, Cause::CertificateMissing);
    assert!(looked.key.unwrap().is_ok());
}

/// There it can't be completed, and it is said what mends it.
fn a_key_without_its_public_object_by_the_provider() {
    if route() == Route::Engine {
        return leave_out("is for OpenSSL's provider, which tests/provider-route has");
    }
    let bench = Bench::new("no-public-object");
    bench.token.delete_public_key("device-key");
    bench.assert_fails(Cause::PublicKeyMissing, &["object=device-key", "--type cert"]);
    bench.token.write_certificate(&bench.certificate.path, "device-key", "01");
    bench.fetch_credentials();
}

/// CKA_ALWAYS_AUTHENTICATE, as of a PIV card's signature slot: the PIN goes to the token again for
/// each signature.
#[test]
fn a_key_that_wants_the_pin_for_each_signature() {
    if route() == Route::Provider {
        return leave_out("works by OpenSSL's engine alone");
    }
    let mut bench = Bench::new("always-authenticate");
    with_a_careful_key(&mut bench);
    let log = bench.shim("");
    bench.fetch_credentials();
    // Once for the token; then for each signature: the proof, as the import left no public key, and
    // the handshake.
    assert_eq!(count(&log, "C_Login"), 3);
    bench.token_settings().pin = Pin::None;
    bench.assert_fails(Cause::PinNeeded, &[]);
}

fn a_key_that_wants_the_pin_for_each_signature_by_the_provider() {
    if route() == Route::Engine {
        return leave_out("is for OpenSSL's provider, which tests/provider-route has");
    }
    let mut bench = Bench::new("always-authenticate");
    let key = with_a_careful_key(&mut bench);
    bench.token.import_public_key(&key, "careful-key", "03");
    bench.assert_fails(Cause::PinAtEachSignature, &["EDGEROTATE_PKCS11_ROUTE=engine"]);
}

/// The key's file is returned.
fn with_a_careful_key(bench: &mut Bench) -> PathBuf {
    // openssl's own command asks a terminal for the PIN of such a key, so the request is made
    // before.
    let (key, request) = bench.make_key("careful");
    bench.token.import_key(&key, "careful-key", "03", &["--always-auth"]);
    let path = bench.scratch.join("careful-device.pem");
    bench.cloud.issue(&request, THING, &path);
    bench.provider.certificate = path;
    bench.token_settings().uri = bench.token.uri_of("careful-key");
    key
}

fn openssl_without_its_way_to_the_token() {
    let mut bench = Bench::new("no-way");
    for (route, variable, cause) in [
        (Route::Engine, "OPENSSL_ENGINES", Cause::EngineMissing),
        (Route::Provider, "OPENSSL_MODULES", Cause::ProviderMissing),
    ] {
        bench.token_settings().route = route;
        bench.launcher.environment.push((variable.into(), "/nonexistent".into()));
        bench.assert_fails(cause, &["/nonexistent/pkcs11.so"]);
    }
    assert!(!bench.mark().exists());
}
