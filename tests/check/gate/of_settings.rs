//! Settings that are wrong, missing or the device's own: whose fault they are, for the gate and for
//! a build.

use super::*;

#[test]
fn whose_settings_are_wrong_decides() {
    let bench = Bench::new("whose", Generation::V05);
    let with = |file: &str, text: &str| {
        fs::write(bench.path(file), text).unwrap();
        let option = if file == "image.env" { "--config" } else { "--device-config" };
        let path = format!("DEVICE/{file}");
        bench.check_as(By::Owner, &["--gate", "--patience", "0", option, &path], &[])
    };
    assert_given_back(
        &with("image.env", "EDGEROTATE_LOG=loud\n"),
        78,
        "WRONG settings DEVICE/image.env:1: EDGEROTATE_LOG: * [setting-wrong]",
    );
    assert_kept(
        &with("own.env", "EDGEROTATE_LOG=loud\n"),
        "warning settings DEVICE/own.env:1: EDGEROTATE_LOG: * [setting-wrong]",
    );
    assert_kept(
        &with("own.env", "EDGEROTATE_OF_A_NEWER_IMAGE=1\n"),
        "warning settings DEVICE/own.env:1: EDGEROTATE_OF_A_NEWER_IMAGE: is not a setting \
         [setting-unknown-here]",
    );
    assert_kept(
        &with("own.env", "EDGEROTATE_ROLE_ALIAS=\n"),
        "warning settings DEVICE/own.env:1: EDGEROTATE_ROLE_ALIAS: is empty, but needed: * \
         [setting-wrong]",
    );
    // A device that was provisioned needs what an image no longer brings.
    fs::write(bench.path("image.env"), "EDGEROTATE_ROLE_ALIAS=\n").unwrap();
    fs::write(bench.path("own.env"), "").unwrap();
    let files = ["--config", "DEVICE/image.env", "--device-config", "DEVICE/own.env"];
    let arguments = [&["--gate", "--patience", "0"], &files[..]].concat();
    assert_given_back(
        &bench.check_as(By::Owner, &arguments, &[]),
        78,
        "WRONG settings settings: EDGEROTATE_ROLE_ALIAS: is empty in DEVICE/image.env:1, * \
         [setting-missing]",
    );
}

/// The image's value below a device's slip is what the rest is looked at with; and a slip gives no
/// image back.
#[test]
fn a_slip_in_the_device_s_own_file_gives_no_image_back_whichever_setting_it_hits() {
    let mut bench = Bench::new("slips", Generation::V05);
    // Values that matter: without them, check finds no token, or takes the database for lost at the
    // next reboot.
    let softhsm2_conf = bench.environment.remove("SOFTHSM2_CONF").unwrap();
    bench.set("MODULE_ENVIRONMENT", format!("SOFTHSM2_CONF={softhsm2_conf}"));
    bench.set("PKCS11_ROUTE", "engine");
    let in_memory = bench.runtime_directory.join("device.db");
    bench.set("DATABASE", in_memory.to_str().unwrap());
    let text = fs::read_to_string(&bench.litestream.configuration).unwrap();
    let text = text.replace(bench.database.to_str().unwrap(), in_memory.to_str().unwrap());
    fs::write(&bench.litestream.configuration, text).unwrap();

    let is_of_key = |name: &str| {
        name.contains("PKCS11") || name.ends_with("_KEY") || name.ends_with("_MODULE_ENVIRONMENT")
    };
    let gate = |bench: &Bench, own: &str| {
        fs::write(bench.path("own.env"), own).unwrap();
        let arguments = ["--gate", "--patience", "0", "--device-config", "DEVICE/own.env"];
        bench.check_as(By::Owner, &arguments, &[])
    };
    assert_kept(&gate(&bench, ""), "ok key EC, 256 bits; it signs");
    for setting in SETTINGS {
        let name = setting.name;
        let answer = gate(&bench, &format!("{name}=!\n"));
        let line = format!("warning settings DEVICE/own.env:1: {name}: * [setting-wrong]");
        assert_kept(&answer, &line);
        if !name.ends_with("_LITESTREAM") {
            answer.assert_has("ok Litestream TOOLS/litestream-0.5.17, version 0.5.17");
        }
        if !is_of_key(name) {
            answer.assert_has("ok key EC, 256 bits; it signs");
        }
    }
    // Where the image has none, what the device wants is not known.
    bench.environment.insert("OPENSSL_ENGINES".to_owned(), "/nonexistent".to_owned());
    for name in ["MODULE_ENVIRONMENT", "PKCS11_ROUTE", "ALLOW_VOLATILE_DATABASE"] {
        let of_image = bench.unset(name);
        let answer = gate(&bench, &format!("EDGEROTATE_{name}=!\n"));
        bench.set(name, of_image);
        // Nothing works without its engine, whatever else the device has wrong.
        if name == "ALLOW_VOLATILE_DATABASE" {
            answer.assert_has("not reached database needs: settings");
        } else {
            assert_kept(&answer, "not reached PKCS#11 module needs: settings");
        }
    }
    bench.environment.remove("OPENSSL_ENGINES");
    // The image's value is wrong only together with the device's.
    for (own, line) in [
        ("EDGEROTATE_FETCH_TIMEOUT=2min\n", "EDGEROTATE_FETCH_TIMEOUT: must be less than *"),
        ("CREDENTIAL_ROLE_ALIAS=other\n", "CREDENTIAL_ROLE_ALIAS: is another name for *"),
        (
            "EDGEROTATE_PRIVATE_KEY=pkcs11:token=device;object=x?module-path=/m.so\n",
            "EDGEROTATE_PRIVATE_KEY: attribute module-path and *",
        ),
    ] {
        assert_kept(
            &gate(&bench, own),
            &format!("warning settings DEVICE/own.env:1: {line} [setting-wrong]"),
        );
    }
    assert_eq!(bench.cloud.fetches(), 1, "nobody is asked with settings that are not whole");
}

/// An image makes the users, and can so take its own settings away from the daemon.
#[test]
fn an_image_whose_daemon_may_not_read_the_device_s_settings_goes() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can become another user");
    }
    let bench = Bench::new("forbidden", Generation::V05);
    fs::write(bench.path("own.env"), "").unwrap();
    let gate = |mode| {
        let _mend = chmod(bench.path("own.env"), mode);
        let arguments = ["--gate", "--patience", "0", "--device-config", "DEVICE/own.env"];
        bench.check_as(By::Nobody, &arguments, &[])
    };
    let answer = gate(0o600);
    answer.assert_has(
        "WRONG settings DEVICE/own.env: cannot be read: Permission denied * \
     [settings-not-permitted]",
    );
    answer.assert_has(
        "-> let the group of the user that runs edgerotate read it: chown \
     root:edgerotate DEVICE/own.env && *",
    );
    assert!(answer.text.contains("this image is not good for this device"), "{}", answer.text);
    assert!(!gate(0o644).text.contains("settings-not-permitted"));
}

/// A device that is not provisioned brings no settings of its own yet; what the image brings is
/// looked at all the same.
#[test]
fn what_the_settings_allow_is_looked_at_on_a_device_that_has_none_of_its_own() {
    let bench = Bench::new("blank", Generation::V05);
    let gate = |settings: &[(&str, &str)]| {
        // An empty value is what the image leaves to the device.
        let (empty, set): (Vec<_>, Vec<_>) =
            settings.iter().partition(|(_, value)| value.is_empty());
        let empty: String = empty.iter().map(|(key, _)| format!("EDGEROTATE_{key}=\n")).collect();
        fs::write(bench.path("image.env"), empty).unwrap();
        let files = ["--config", "DEVICE/image.env", "--device-config", "DEVICE/nothing.env"];
        bench.check_as(By::Owner, &[&["--gate", "--patience", "0"], &files[..]].concat(), &set)
    };
    let network = [("ENDPOINT", ""), ("REGION", ""), ("ROLE_ALIAS", "")];
    let answer = gate(&network);
    assert_kept(&answer, "warning settings settings: EDGEROTATE_ENDPOINT: * [not-provisioned]");
    for line in [
        "ok PKCS#11 module /usr/lib/softhsm/libsofthsm2.so, through OpenSSL's engine",
        "ok key EC, 256 bits; it signs",
        "ok database DEVICE/data/device.db is not there yet; the daemon makes it",
        "ok Litestream TOOLS/litestream-0.5.17, version 0.5.17",
        "ok litestream.yml DEVICE/litestream/litestream.yml names DEVICE/data/device.db",
        "not reached daemon needs: settings",
        "not reached endpoint needs: settings",
        "not reached TLS needs: settings",
        "not reached role alias needs: settings",
    ] {
        answer.assert_has(line);
    }
    for (more, code, line) in [
        (("LITESTREAM", "/usr/bin/no-litestream"), 69, "WRONG Litestream * [litestream-not-run]"),
        (("PKCS11_MODULE", "/usr/lib/no.so"), 69, "WRONG PKCS#11 module * [module-missing]"),
        (("DATABASE", "DEVICE/nowhere/device.db"), 78, "WRONG database * [database-directory]"),
        (
            ("LITESTREAM_CONFIG", "DEVICE/no.yml"),
            78,
            "WRONG litestream.yml * [litestream-config-missing]",
        ),
    ] {
        assert_given_back(&gate(&[&network[..], &[more]].concat()), code, line);
    }

    // No token is known: module and engine are tried, and no PIN.
    let no_key = [("PRIVATE_KEY", "")];
    let answer = gate(&no_key);
    assert_kept(
        &answer,
        "ok PKCS#11 module /usr/lib/softhsm/libsofthsm2.so, through OpenSSL's engine",
    );
    answer.assert_has("not reached token needs: settings");
    answer.assert_has("not reached PIN needs: settings");
    assert_given_back(
        &gate(&[no_key[0], ("PKCS11_MODULE", "/usr/bin/true")]),
        69,
        "WRONG PKCS#11 module * [module-not-loadable]",
    );

    let answer = gate(&[("DATABASE", ""), ("CERTIFICATE", ""), ("PKCS11_MODULE", "")]);
    assert_kept(&answer, "ok Litestream TOOLS/litestream-0.5.17, version 0.5.17");
    for step in ["database", "guard", "litestream.yml", "certificate", "PKCS#11 module", "key"] {
        answer.assert_has(&format!("not reached {step} needs: settings"));
    }

    // A device's own mistake hides nothing of the image either.
    fs::write(bench.path("own.env"), "EDGEROTATE_LOG=loud\nEDGEROTATE_DATABASE=relative\n")
        .unwrap();
    let own = |settings: &[(&str, &str)]| {
        let arguments = ["--gate", "--patience", "0", "--device-config", "DEVICE/own.env"];
        bench.check_as(By::Owner, &arguments, settings)
    };
    let answer = own(&[]);
    assert_kept(
        &answer,
        "warning settings DEVICE/own.env:2: EDGEROTATE_DATABASE: * [setting-wrong]",
    );
    answer.assert_has("ok key EC, 256 bits; it signs");
    answer.assert_has("not reached database needs: settings");
    assert_given_back(
        &own(&[("LITESTREAM", "/usr/bin/no-litestream")]),
        69,
        "WRONG Litestream * [litestream-not-run]",
    );
    assert_eq!(bench.cloud.fetches(), 0, "nobody is asked with settings that are not whole");
}

#[test]
fn a_build_looks_at_the_settings_alone() {
    let bench = Bench::new("build", Generation::V05);
    let image = bench.path("image.env");
    let build = |text: &str, more: &[&str]| {
        fs::write(&image, text).unwrap();
        let mut command = tied(crate::support::device::program());
        command.args(["check", "--config-only", "--config"]).arg(&image);
        command.args(more.iter().map(|argument| bench.there(argument)));
        // What the build host's environment has is not the device's.
        command.env("EDGEROTATE_LOG", "loud");
        bench.answer(&mut command)
    };
    let text = "EDGEROTATE_ENDPOINT=c1.credentials.iot.eu-west-1.amazonaws.com\nEDGEROTATE_ROLE_ALIAS=replica\n\
                EDGEROTATE_CERTIFICATE=/data/device.pem\nEDGEROTATE_DATABASE=/data/device.db\n\
                EDGEROTATE_PRIVATE_KEY=pkcs11:token=t;object=k\nEDGEROTATE_PKCS11_MODULE=/usr/lib/of-another-machine.so\n";
    let answer = build(text, &[]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(answer.text, "ok           settings  DEVICE/image.env\nall is well\n");

    // What each device brings is no mistake of the image's; all the rest is its own to say.
    let answer = build(&without(text, &["CERTIFICATE", "PRIVATE_KEY"]), &[]);
    assert_eq!(answer.code, 0, "{answer:?}");
    answer.assert_has(
        "warning settings settings: EDGEROTATE_CERTIFICATE: is not set, * [not-provisioned]",
    );
    for name in ["ENDPOINT", "ROLE_ALIAS", "DATABASE", "PKCS11_MODULE"] {
        let answer = build(&without(text, &[name]), &[]);
        assert_eq!(answer.code, 78, "{answer:?}");
        answer.assert_has(&format!(
            "WRONG settings settings: EDGEROTATE_{name}: is not set, * [setting-missing]"
        ));
    }
    let answer = build("", &[]);
    assert_eq!(answer.code, 78, "no settings at all: {answer:?}");
    // What is shipped is to be filled in, and says with what.
    let template = fs::read_to_string(root().join("systemd/edgerotate.env")).unwrap();
    let answer = build(&template, &[]);
    assert_eq!(answer.code, 78, "{answer:?}");
    for name in ["ENDPOINT", "ROLE_ALIAS", "PKCS11_MODULE"] {
        answer.assert_has(&format!(
            "WRONG settings settings: EDGEROTATE_{name}: is not set, * [setting-missing]"
        ));
    }
    let answer = build(&template.replace("\n#EDGEROTATE_", "\nEDGEROTATE_"), &[]);
    assert_eq!((answer.code, answer.text.lines().last()), (0, Some("all is well")), "{answer:?}");

    fs::write(bench.path("own.env"), "EDGEROTATE_THING_NAME=press-12\nEDGEROTATE_NEWER=1\n")
        .unwrap();
    let answer = build(text, &["--device-config", "DEVICE/own.env"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    answer.assert_has(
        "warning settings DEVICE/own.env:2: EDGEROTATE_NEWER: is not a setting \
     [setting-unknown-here]",
    );
    let answer = build(&without(text, &["CERTIFICATE"]), &["--device-config", "DEVICE/own.env"]);
    assert_eq!(answer.code, 78, "this device is to have all it needs: {answer:?}");

    let answer = build(&format!("{text}EDGEROTATE_THING_NAM=x\n"), &[]);
    assert_eq!(answer.code, 78, "{answer:?}");
    answer.assert_has(
        "WRONG settings DEVICE/image.env:7: EDGEROTATE_THING_NAM: is not a setting; is \
         EDGEROTATE_THING_NAME meant? \
         [setting-unknown]",
    );
}

/// Settings without the lines of some.
fn without(text: &str, names: &[&str]) -> String {
    let is_one = |line: &&str| names.iter().any(|n| line.starts_with(&format!("EDGEROTATE_{n}=")));
    text.lines().filter(|line| !is_one(line)).map(|line| format!("{line}\n")).collect()
}
