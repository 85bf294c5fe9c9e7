//! The network and TLS: who is not there, who is not trusted, and who does not trust the device.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use edgerotate::{problems::failure::Cause, settings::PrivateKey};
use openssl::{
    asn1::Asn1Time,
    hash::MessageDigest,
    pkey::PKey,
    x509::{
        X509Builder, X509NameBuilder,
        extension::{BasicConstraints, SubjectAlternativeName},
    },
};
use serde_json::json;

use crate::{
    bench::{Bench, leave_out},
    support::{
        Process, SOON,
        device::THING,
        process::{make_program, run, tied},
        wait_for,
    },
};

// Each is a test, and shows these causes.
cases! {
    nobody_there: ConnectRefused Dns Unreachable ConnectTimeout TlsStalled;
    a_trusted_root_that_has_expired: CaFileExpired;
    servers_that_are_not_trusted: ServerCertificateExpired ServerOtherHost ServerNotTrusted;
    nothing_but_the_ca_file_is_trusted: ServerNotTrusted;
    device_certificates_that_are_refused: DeviceCertificateExpired DeviceCertificateUnknown;
    what_openssl_servers_say: DeviceCertificateUnknown TlsVersion;
    servers_that_know_better_what_the_certificate_is_worth: DeviceCertificateRevoked DeviceCertificateRejected;
    a_system_without_authorities: SystemCaMissing;
    a_server_from_the_future: ServerCertificateNotYetValid;
    a_server_that_speaks_no_tls: TlsHandshake;
}

fn nobody_there() {
    let mut bench = Bench::with_key_file("nobody");
    bench.cloud.provider_fault(&json!({"refuse_connections": true}));
    bench.assert_fails(Cause::ConnectRefused, &["localhost:"]);

    bench.provider.host = "no-such-host.invalid".to_owned();
    bench.assert_fails(Cause::Dns, &["no-such-host.invalid:"]);

    // No route leads to all hosts of the world at once.
    bench.provider.host = "255.255.255.255".to_owned();
    bench.assert_fails(Cause::Unreachable, &["255.255.255.255:"]);

    // The kernel takes the connection, nobody answers it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    bench.provider.host = "localhost".to_owned();
    bench.provider.port = listener.local_addr().unwrap().port();
    bench.provider.connect_timeout = Duration::from_secs(1);
    bench.assert_fails(Cause::TlsStalled, &["within 1 s"]);

    // Its queue is full: no more connections are taken.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let queued: Vec<_> = (0..8)
        .map(|_| {
            let one = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let one = one.unwrap();
            one.set_nonblocking(true).unwrap();
            let _ = one.connect(&address.into());
            one
        })
        .collect();
    bench.provider.port = address.port();
    bench.assert_fails(Cause::ConnectTimeout, &["not up within 1 s: "]);
    drop(queued);

    // Whoever counts on a proxy in the environment is told that it is not used.
    bench.provider.port = 1;
    bench.launcher.environment.push(("https_proxy".into(), "http://127.0.0.1:2".into()));
    bench.assert_fails(Cause::ConnectRefused, &["https_proxy", "EDGEROTATE_PROXY"]);
}

fn a_trusted_root_that_has_expired() {
    let mut bench = Bench::with_key_file("old-root");
    let (server, root) = Server::of_an_expired_root(&bench);
    server.aim(&mut bench);
    bench.provider.ca_file = Some(root);
    bench.assert_fails(Cause::CaFileExpired, &["old-root.pem", "Old Root was valid until"]);
}

fn servers_that_are_not_trusted() {
    let mut bench = Bench::with_key_file("server");
    for (certificate, cause, words) in [
        ("expired", Cause::ServerCertificateExpired, "was valid until"),
        ("wrong-host", Cause::ServerOtherHost, "it is for elsewhere.example"),
        ("untrusted", Cause::ServerNotTrusted, "trusted is CA file"),
    ] {
        bench.cloud.provider_fault(&json!({"server_certificate": certificate}));
        bench.assert_fails(cause, &[words]);
    }
    bench.cloud.heal();
    let good = bench.provider.ca_file.replace(bench.cloud.wrong_ca_file());
    bench.assert_fails(Cause::ServerNotTrusted, &["issued by CN="]);
    bench.provider.ca_file = None;
    bench.assert_fails(Cause::ServerNotTrusted, &["trusted is the system's store"]);
    // The system's store, by the variable that OpenSSL has for it.
    bench.launcher.environment.push(("SSL_CERT_FILE".into(), good.unwrap().into()));
    bench.fetch_credentials();
}

fn nothing_but_the_ca_file_is_trusted() {
    // The right authority is in a directory that libcurl would look at beside the CA file.
    let mut bench = Bench::with_key_file("ca-only");
    let directory = bench.scratch.join("certs");
    fs::create_dir(&directory).unwrap();
    fs::copy(bench.cloud.ca_file(), directory.join("right.pem")).unwrap();
    crate::support::process::run(tied("openssl").arg("rehash").arg(&directory));
    bench.launcher.environment.push(("SSL_CERT_DIR".into(), directory.into()));
    bench.provider.ca_file = Some(bench.cloud.wrong_ca_file());
    bench.assert_fails(Cause::ServerNotTrusted, &[]);
}

#[test]
fn a_proxy_in_the_environment_is_nobodys_business() {
    let mut bench = Bench::new("proxy");
    // Even where the settings hand it on to the module.
    for name in ["https_proxy", "ALL_PROXY"] {
        bench.module_variable(name, "http://127.0.0.1:1");
    }
    bench.fetch_credentials();
}

fn device_certificates_that_are_refused() {
    let mut bench = Bench::with_key_file("device");
    let PrivateKey::File(key) = bench.provider.key.clone() else { unreachable!() };

    let expired = bench.scratch.join("expired.pem");
    let (_, request) = (&key, bench.request_of(&key));
    let answer = bench.cloud.control(
        "POST",
        "/certificates",
        Some(&json!({"csr": request, "thing": THING, "not_before": "2020-01-01T00:00:00Z", "not_after": "2020-02-01T00:00:00Z"})),
    );
    fs::write(&expired, answer["certificate_pem"].as_str().unwrap()).unwrap();
    bench.provider.certificate = expired;
    bench.assert_fails(
        Cause::DeviceCertificateExpired,
        &["certificate expired", "valid until Feb  1 00:00:00 2020"],
    );

    // One that nobody issued.
    let own = bench.scratch.join("own.pem");
    certificate(&own, &key, "device.example", (0, 30));
    bench.provider.certificate = own;
    bench.assert_fails(Cause::DeviceCertificateUnknown, &["CN=device.example"]);
}

/// OpenSSL's own server says the same in other ways: in TLS 1.3 it refuses the device only after
/// the handshake.
fn what_openssl_servers_say() {
    for (version, cause) in [
        ("-tls1_2", Cause::DeviceCertificateUnknown),
        ("-tls1_3", Cause::DeviceCertificateUnknown),
        ("-tls1_1", Cause::TlsVersion),
    ] {
        let mut bench = Bench::with_key_file(&format!("s{version}"));
        let server =
            Server::start(&bench, (0, 30), &[version, "-Verify", "1", "-verify_return_error"]);
        server.aim(&mut bench);
        bench.assert_fails(cause, &[]);
    }
}

fn servers_that_know_better_what_the_certificate_is_worth() {
    for (name, usage, cause, words) in [
        ("revoked", "clientAuth", Cause::DeviceCertificateRevoked, "certificate revoked"),
        // Made for a server.
        ("rejected", "serverAuth", Cause::DeviceCertificateRejected, "unsupported certificate"),
    ] {
        let mut bench = Bench::with_key_file(name);
        let fleet = Authority::new(&bench);
        fleet.certify(&mut bench, 7, usage);
        let list = fleet.list_of_revoked(7);
        let mut arguments =
            vec!["-Verify", "1", "-verify_return_error", "-CAfile", &fleet.certificate];
        if cause == Cause::DeviceCertificateRevoked {
            arguments.extend(["-crl_check", "-CRL", &list]);
        }
        let server = Server::start(&bench, (0, 30), &arguments);
        server.aim(&mut bench);
        bench.assert_fails(cause, &[words, "CN="]);
    }
}

fn a_system_without_authorities() {
    let mut bench = Bench::with_key_file("no-authorities");
    if !nix::unistd::geteuid().is_root() {
        return leave_out("needs root, to take /etc/ssl away from one process");
    }
    let script = format!(
        "#!/bin/sh\nexec /usr/bin/unshare --mount /bin/sh -c \
         '/bin/mount -t tmpfs none /etc/ssl && exec {} \"$@\"' sh \"$@\"\n",
        bench.launcher.program.display()
    );
    let program = bench.scratch.join("without-ssl");
    make_program(&program, script.as_bytes());
    bench.launcher.program = program;
    bench.provider.ca_file = None;
    bench.assert_fails(Cause::SystemCaMissing, &["/etc/ssl/certs/ca-certificates.crt"]);
}

fn a_server_from_the_future() {
    let mut bench = Bench::with_key_file("future");
    let server = Server::start(&bench, (10, 30), &[]);
    server.aim(&mut bench);
    bench.assert_fails(Cause::ServerCertificateNotYetValid, &["is valid from", "here it is"]);
}

fn a_server_that_speaks_no_tls() {
    let mut bench = Bench::with_key_file("no-tls");
    // Its control interface speaks plain HTTP.
    let state = bench.cloud.directory().join("cloud.json");
    let facts: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(state).unwrap()).unwrap();
    let control = facts["control"].as_str().unwrap().trim_end_matches('/');
    bench.provider.port = control.rsplit_once(':').unwrap().1.parse().unwrap();
    bench.assert_fails(Cause::TlsHandshake, &["localhost:"]);
}

/// `openssl s_server` with a certificate for localhost that vouches for itself.
struct Server {
    _process: Process,
    port: u16,
    certificate: PathBuf,
}

impl Server {
    /// Valid from and until so many days from now.
    fn start(bench: &Bench, days: (i64, i64), arguments: &[&str]) -> Self {
        let (key, _) = bench.make_key("server");
        let path = bench.scratch.join("server-cert.pem");
        certificate(&path, &key, "localhost", days);
        Self::with(bench, path, &key, arguments)
    }

    /// With a certificate that is good, of a root that was good until lately.
    fn of_an_expired_root(bench: &Bench) -> (Self, PathBuf) {
        let ((key, _), (roots_key, _)) = (bench.make_key("server"), bench.make_key("root"));
        let (path, root) = (bench.scratch.join("server.crt"), bench.scratch.join("old-root.pem"));
        certificate(&root, &roots_key, "Old Root", (-2000, -300));
        certificate_by(&path, &key, "localhost", (-1, 30), ("Old Root", &roots_key));
        (Self::with(bench, path, &key, &[]), root)
    }

    fn with(bench: &Bench, path: PathBuf, key: &Path, arguments: &[&str]) -> Self {
        let log = bench.scratch.join("server.log");
        let mut command = tied("openssl");
        command.args([
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-www",
            "-cipher",
            "DEFAULT:@SECLEVEL=0",
        ]);
        command
            .arg("-cert")
            .arg(&path)
            .arg("-key")
            .arg(key)
            .arg("-CAfile")
            .arg(&path)
            .args(arguments);
        let process = Process::start("openssl s_server", &mut command, &log);
        let port = wait_for("the server's port", SOON, || {
            let output = process.output();
            let (_, port) = output.split_once("ACCEPT 127.0.0.1:")?;
            port.lines().next()?.trim().parse().ok()
        });
        Self { _process: process, port, certificate: path }
    }

    fn aim(&self, bench: &mut Bench) {
        bench.provider.host = "localhost".to_owned();
        bench.provider.port = self.port;
        bench.provider.ca_file = Some(self.certificate.clone());
    }
}

/// Whoever issues a fleet's certificates, and revokes them.
struct Authority {
    directory: PathBuf,
    certificate: String,
}

impl Authority {
    fn new(bench: &Bench) -> Self {
        let directory = bench.scratch.join("authority");
        fs::create_dir(&directory).unwrap();
        let authority = Self { certificate: at(&directory, "ca.pem"), directory };
        let made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=fleet \
         -keyout ca.key -out ca.pem";
        authority.openssl(made);
        authority
    }

    fn openssl(&self, arguments: &str) {
        let arguments = arguments.split(' ');
        run(tied("openssl").current_dir(&self.directory).args(arguments));
    }

    /// Gives the device a certificate for its key.
    fn certify(&self, bench: &mut Bench, serial: u32, usage: &str) {
        let PrivateKey::File(key) = &bench.provider.key else { panic!("a key in a token") };
        fs::write(self.directory.join("request.pem"), bench.request_of(key)).unwrap();
        let extensions = format!("extendedKeyUsage = {usage}\n");
        fs::write(self.directory.join("extensions"), extensions).unwrap();
        self.openssl(&format!(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -set_serial {serial} -days 30 \
             -extfile extensions -out device.pem"
        ));
        bench.provider.certificate = self.directory.join("device.pem");
    }

    /// The list with this one on it.
    fn list_of_revoked(&self, serial: u32) -> String {
        let index = format!("R\t491231235959Z\t250101000000Z\t{serial:02X}\tunknown\t/CN=x\n");
        fs::write(self.directory.join("index"), index).unwrap();
        let configuration =
            "[ca]\ndefault_ca = fleet\n[fleet]\ndatabase = index\ndefault_md = sha256\n";
        fs::write(self.directory.join("configuration"), configuration).unwrap();
        self.openssl(
            "ca -gencrl -config configuration -keyfile ca.key -cert ca.pem -crldays 30 \
         -out crl.pem",
        );
        at(&self.directory, "crl.pem")
    }
}

fn at(directory: &Path, name: &str) -> String {
    directory.join(name).to_str().expect("a plain path").to_owned()
}

/// Writes a certificate that its own key signed.
pub fn certificate(path: &Path, key: &Path, name: &str, days: (i64, i64)) {
    certificate_by(path, key, name, days, (name, key));
}

/// The same, issued by somebody.
fn certificate_by(
    path: &Path,
    key: &Path,
    name: &str,
    (from, until): (i64, i64),
    (issuer, issuers_key): (&str, &Path),
) {
    let key = PKey::private_key_from_pem(&fs::read(key).unwrap()).unwrap();
    let issuers_key = PKey::private_key_from_pem(&fs::read(issuers_key).unwrap()).unwrap();
    let named = |name| {
        let mut builder = X509NameBuilder::new().unwrap();
        builder.append_entry_by_text("CN", name).unwrap();
        builder.build()
    };
    let mut builder = X509Builder::new().unwrap();
    #[allow(clippy::disallowed_methods, reason = "tests watch the real clock")]
    let now = chrono::Utc::now().timestamp();
    let at = |days: i64| Asn1Time::from_unix(now + days * 86_400).unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&named(name)).unwrap();
    builder.set_issuer_name(&named(issuer)).unwrap();
    builder.set_not_before(&at(from)).unwrap();
    builder.set_not_after(&at(until)).unwrap();
    builder.set_pubkey(&key).unwrap();
    let names =
        SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    if name == "Old Root" {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    }
    builder.sign(&issuers_key, MessageDigest::sha256()).unwrap();
    fs::write(path, builder.build().to_pem().unwrap()).unwrap();
}
