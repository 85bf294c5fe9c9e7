//! Wherever a person puts the PIN, nothing shows it again.

use super::*;

/// A PIN no message holds by chance; its halves are looked for as well.
const PIN: &str = "Zq91xKv37w";

/// The URIs that people write, right and wrong.
const URIS: [&str; 28] = [
    "pkcs11:token=t;object=k?pin-value=PIN",
    "pkcs11:token=t;object=k?pin-value=PIN&module-path=/m.so",
    "pkcs11:token=t;object=k?pin-value=PIN&pin-source=/run/pin",
    "pkcs11:token=t;object=k?pin-value=PIN&pin-value=PIN",
    "pkcs11:token=t;object=k;type=cert?pin-value=PIN",
    "pkcs11:token=t;object=k?pin-value=PIN%zz",
    "pkcs11:token=t;object=k?pin-value=PIN%ff",
    "pkcs11:token=t;object=k?pin-value=PIN with blanks",
    "pkcs11:token=t;object=k?pin-value=HALF&HALF",
    "pkcs11:token=t;object=k?pin-value=HALF&HALF=1",
    "pkcs11:token=t;object=k?pin-value=HALF;HALF",
    "pkcs11:token=t;object=k?pin-value=HALF?HALF",
    "pkcs11:token=t;object=k?pin-value=HALF#HALF",
    "pkcs11:token=t;object=k?pin-value:PIN",
    "pkcs11:token=t;object=k?pin-value",
    "pkcs11:token=t;object=k?PIN-VALUE=PIN",
    "pkcs11:token=t;object=k?pin_value=PIN",
    "pkcs11:token=t;object=k?p%69n-value=PIN",
    "pkcs11:token=t;object=k;pin-value=PIN",
    "pkcs11:token=t;object=k&pin-value=PIN",
    "pkcs11:token=t;object=k,pin-value=PIN",
    "pkcs11:token=t;object=k pin-value=PIN",
    "pkcs11:token=t object=k?pin-value=PIN",
    "pkcs11:token=t;object=k?pin-source=PIN",
    "PKCS11:token=t;object=k?pin-value=PIN",
    "pkcs11%3Atoken=t;object=k?pin-value=PIN",
    "pkcs12:token=t;object=k?pin-value=PIN",
    " pkcs11:token=t;object=k?pin-value=PIN",
];

fn uris() -> impl Iterator<Item = String> {
    let (first, second) = PIN.split_at(PIN.len() / 2);
    URIS.iter().map(move |uri| {
        uri.replace("=PIN", &format!("={PIN}"))
            .replace(":PIN", &format!(":{PIN}"))
            .replacen("HALF", first, 1)
            .replacen("HALF", second, 1)
    })
}

fn assert_hidden(layers: &Layers, unknown: UnknownKeys, context: &str) {
    let checked = Config::from_layers(layers, unknown);
    let shown = match &checked {
        Ok((_, warnings)) => warnings.iter().map(|w| format!("{w}\n")).collect(),
        Err(errors) => errors.to_string(),
    };
    for text in [shown, format!("{checked:?}"), format!("{checked:#?}"), format!("{layers:?}")] {
        let (first, second) = PIN.split_at(PIN.len() / 2);
        for part in [first, second] {
            assert!(!text.contains(part), "{context}\n{text}");
        }
    }
}

#[test]
fn no_key_shows_a_pin_in_its_value() {
    let names = SETTINGS.iter().flat_map(|s| std::iter::once(s.name).chain(s.article_name));
    for key in
        names.chain(["EDGEROTATE_PIN", "PIN", "edgerotate_private_key", "AWS_SECRET_ACCESS_KEY"])
    {
        for uri in uris() {
            let environment = [&LEAST[..], &TOKEN, &[(key, uri.as_str())]].concat();
            let layers = Layers::read(&[], pairs(&environment));
            assert_hidden(&layers, UnknownKeys::Deny, &format!("{key}={uri}"));
        }
    }
}

#[test]
fn no_line_of_a_file_shows_a_pin() {
    for uri in uris() {
        for line in [
            format!("DEVICE_PRIVATE_KEY_PKCS11_PHRASE={uri}\nEDGEROTATE_PRIVATE_KEY={uri}"),
            format!("EDGEROTATE_PRIVATE_KEY='{uri}"),
            format!("EDGEROTATE_PRIVATE_KEY=\"{uri}\"\nEDGEROTATE_PRIVATE_KEY=\"{uri}\""),
            format!("EDGEROTATE_PRIVATE_KEY {uri}"),
            format!("EDGEROTATE_PRIVATE_KEY: {uri}"),
            format!("export EDGEROTATE_PRIVATE_KEY={uri}"),
            format!("EDGEROTATE_PRIVATE_KEY=\n{uri}"),
            uri.clone(),
            format!("{uri}=1"),
            PIN.to_owned(),
            format!("{PIN}=1"),
            format!("EDGEROTATE_PRIVATE_KEY={uri}\0"),
        ] {
            let files = Files::new().with("device.env", &line);
            let layers = Layers::read(&files.files, pairs(&LEAST));
            assert_hidden(&layers, UnknownKeys::Deny, &line);
            assert_hidden(&layers, UnknownKeys::Warn, &line);
        }
    }
}

#[test]
fn no_value_for_the_module_is_shown() {
    for value in [format!("A={PIN}"), format!("A= {PIN}=1 1={PIN}"), format!("/{PIN} 1={PIN}")] {
        let more = [("EDGEROTATE_MODULE_ENVIRONMENT", value.as_str())];
        let environment = [&LEAST[..], &TOKEN, &more].concat();
        assert_hidden(&Layers::read(&[], pairs(&environment)), UnknownKeys::Warn, &value);
    }
}

/// Two slips of the pen anywhere but in the PIN itself.
#[test]
fn no_slip_of_the_pen_brings_the_pin_out() {
    let mut random = crate::core::backoff::Random::new(7512);
    let mut below = |bound: usize| (random.next_u64() % bound as u64) as usize;
    for _ in 0..4000 {
        let (before, after) = match below(3) {
            0 => ("pkcs11:token=t;object=k;type=private?pin-value=", ""),
            1 => ("pkcs11:token=t;object=k?pin-value=", "&module-path=/m.so"),
            _ => ("pkcs11:token=t;object=k?module-path=/m.so&pin-value=", ""),
        };
        let mut before: Vec<char> = before.chars().collect();
        for _ in 0..2 {
            let at = 7 + below(before.len() - 7);
            let typed = [';', '&', '?', '=', ':', '-', ',', ' ', '%', 'x'][below(10)];
            match below(3) {
                0 => {
                    before.remove(at);
                }
                1 => before[at] = typed,
                _ => before.insert(at, typed),
            }
        }
        let uri = before.into_iter().collect::<String>() + PIN + after;
        let environment = [&LEAST[..], &TOKEN, &[("EDGEROTATE_PRIVATE_KEY", &uri)]].concat();
        assert_hidden(&Layers::read(&[], pairs(&environment)), UnknownKeys::Warn, &uri);
    }
}
