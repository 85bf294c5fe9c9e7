use super::*;

fn error(text: &str) -> String {
    Pkcs11Uri::parse(text).unwrap_err().to_string()
}

/// The examples of RFC 7512, section 3, with what is shown of them and what an engine gets.
#[test]
fn the_rfcs_examples() {
    for (text, shown, object) in [
        ("pkcs11:", "pkcs11:", "pkcs11:"),
        (
            "pkcs11:object=my-pubkey;type=public",
            "pkcs11:object=my-pubkey;type=public",
            "pkcs11:object=my-pubkey;type=public",
        ),
        (
            "pkcs11:object=my-key;type=private?pin-source=file:/etc/token",
            "pkcs11:object=my-key;type=private?pin-source=file:/etc/token",
            "pkcs11:object=my-key;type=private",
        ),
        (
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;\
             model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=\
             ?pin-source=file:/etc/token_pin",
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;\
             model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=\
             ?pin-source=file:/etc/token_pin",
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;\
             model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=",
        ),
        (
            "pkcs11:object=my-sign-key;type=private?module-name=mypkcs11",
            "pkcs11:object=my-sign-key;type=private?module-name=mypkcs11",
            "pkcs11:object=my-sign-key;type=private",
        ),
        (
            "pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1",
            "pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1",
            "pkcs11:object=my-sign-key;type=private",
        ),
        (
            "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin",
            "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=…",
            "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.",
        ),
        (
            "pkcs11:slot-description=Sun%20Metaslot",
            "pkcs11:slot-description=Sun%20Metaslot",
            "pkcs11:slot-description=Sun%20Metaslot",
        ),
        (
            "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;\
             library-version=1.23",
            "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;\
             library-version=1.23",
            "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;\
             library-version=1.23",
        ),
        (
            "pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3;id=%01%02%03%Ba%dd%Ca%fe%04%05%06",
            "pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3;id=%01%02%03%Ba%dd%Ca%fe%04%05%06",
            "pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3;id=%01%02%03%Ba%dd%Ca%fe%04%05%06",
        ),
        (
            "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
            "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
            "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
        ),
        (
            "pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;object=my-certificate;type=cert",
            "pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;object=my-certificate;type=cert",
            "pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;object=my-certificate;type=cert",
        ),
        (
            "pkcs11:token=my-token;object=my-certificate;type=cert;vendor-aaa=value-a\
             ?pin-source=file:/etc/token_pin&vendor-bbb=value-b",
            "pkcs11:token=my-token;object=my-certificate;type=cert;…?pin-source=file:/etc/token_pin&…",
            "pkcs11:token=my-token;object=my-certificate;type=cert;vendor-aaa=value-a",
        ),
    ] {
        let uri = Pkcs11Uri::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(uri.to_string(), shown);
        assert_eq!(uri.object(), object);
    }
}

#[test]
fn values_are_decoded() {
    let uri = Pkcs11Uri::parse(
        "PKCS11:type=private?pin-value=a%26b%20%C3%A9&module-path=/usr/lib/a%20b.so&module-name=c",
    )
    .unwrap();
    assert_eq!(uri.object(), "pkcs11:type=private");
    assert_eq!(uri.object_type(), Some("private"));
    assert_eq!(uri.module_path(), Some("/usr/lib/a b.so"));
    assert_eq!(uri.module_name(), Some("c"));
    assert_eq!(uri.pin_source(), None);
    assert_eq!(uri.pin_value().unwrap().expose(), "a&b é");
    assert_eq!(format!("{uri:?}"), format!("Pkcs11Uri({uri})"));
}

#[test]
fn an_error_says_which_attribute() {
    for (text, what) in [
        ("pkcs12:token=a", "does not begin with pkcs11:"),
        ("pkcs11:token", "attribute 1 of the path has no ="),
        ("pkcs11:token=a;", "attribute 2 of the path is empty"),
        ("pkcs11:;token=a", "attribute 1 of the path is empty"),
        ("pkcs11:token=a;token=b", "attribute token is there twice"),
        (
            "pkcs11:token=a;to ken=b",
            "attribute 2 of the path has a name with a character that no name has",
        ),
        (
            "pkcs11:token=My Token",
            "attribute token: character 3 of the value must be percent-encoded (a space is %20)",
        ),
        (
            "pkcs11:x-vendor=ü",
            "attribute 1 of the path: character 1 of the value must be percent-encoded (a space is \
             %20)",
        ),
        ("pkcs11:object=a%2", "attribute object: a % is not followed by two hexadecimal digits"),
        ("pkcs11:object=a%zz", "attribute object: a % is not followed by two hexadecimal digits"),
        ("pkcs11:object=%ff", "attribute object is not text"),
        ("pkcs11:object=%00", "attribute object is not text"),
        ("pkcs11:type=key", "attribute type is none of public, private, cert, secret-key, data"),
        ("pkcs11:slot-id=one", "attribute slot-id is not a number"),
        (
            "pkcs11:library-version=1.2.3",
            "attribute library-version is not a number such as 1 or 1.2",
        ),
        (
            "pkcs11:object=a&pin-value=1234",
            "attribute object has swallowed one of pin-source, pin-value, module-name, \
             module-path: these come after a ?",
        ),
        (
            "pkcs11:object=a?pin-value",
            "attribute 1 of the query has no = (a & inside a PIN is written %26)",
        ),
        ("pkcs11:object=a?pin-value=", "attribute pin-value is empty"),
        ("pkcs11:object=a?pin-value=%00", "attribute pin-value is not text"),
        ("pkcs11:object=a?pin-value=%ff", "attribute pin-value is not text"),
        (
            "pkcs11:object=a?pin-value=12#4",
            "attribute pin-value: character 3 of the value must be percent-encoded (a space is \
             %20)",
        ),
        (
            "pkcs11:object=a?pin-value=12&34",
            "attribute 2 of the query has no = (a & inside a PIN is written %26)",
        ),
        ("pkcs11:object=a?pin-value=1&pin-value=2", "attribute pin-value is there twice"),
    ] {
        assert_eq!(error(text), what, "{text}");
    }
}

#[test]
fn what_no_key_needs_is_refused() {
    let refused = |text| Pkcs11Uri::parse(text).unwrap().plain().unwrap_err().to_string();
    let path = refused("pkcs11:token=a;pin-value=1234");
    assert!(
        path.starts_with("attribute 2 of the path is not a known one (known: token, "),
        "{path}"
    );
    assert!(path.ends_with("; PIN and module come after a ?)"), "{path}");
    assert_eq!(
        refused("pkcs11:token=a?pin-value=12&a34=5"),
        "attribute 2 of the query is not a known one (known: pin-source, pin-value, module-name, \
         module-path; a & inside a PIN is written %26)"
    );
    for text in ["pkcs11:token=a;object=b=c", "pkcs11:token=a;object=b&c?pin-value=1234"] {
        assert_eq!(
            refused(text),
            "attribute object has a = or & in its value: write %3D or %26, and PIN and module \
             after a ?"
        );
    }
}

#[test]
fn a_broken_uri_is_shown_without_its_pin() {
    for (text, shown) in [
        ("pkcs11:object=a?pin-value=9137", "pkcs11:object=a?pin-value=…"),
        ("pkcs11:object=a?pin-value=91&37", "pkcs11:object=a?pin-value=…&…"),
        ("pkcs11:object=a?pin-value=91?37", "pkcs11:object=a?pin-value=…"),
        ("pkcs11:object=a;pin-value=9137", "pkcs11:object=a;…"),
        ("pkcs11:object=a&pin-value=9137", "pkcs11:object=…"),
        ("pkcs11:object=a%26p%69n-value=9137", "pkcs11:object=…"),
        ("pkcs11:object=a,n-value=9137", "pkcs11:object=…"),
        ("pkcs11:object=a pin 9137", "pkcs11:object=…"),
        ("pkcs11:object=a?PIN-VALUE=9137", "pkcs11:object=a?…"),
        ("pkcs11:object=a?pin-source=9137", "pkcs11:object=a?pin-source=…"),
        ("pkcs11:object=a?pin-source=|echo 9137", "pkcs11:object=a?pin-source=…"),
        ("pkcs11:object=a?pin-source=/run/pin", "pkcs11:object=a?pin-source=/run/pin"),
        ("pkcs11:object=a?module-path=/m&9137", "pkcs11:object=a?module-path=/m&…"),
        ("9137pkcs11:object=a", "…pkcs11:object=a"),
        ("pkcs11%3Aobject=a?pin-value=9137", "…"),
        ("9137", "…"),
    ] {
        assert_eq!(masked(text), shown);
    }
}
