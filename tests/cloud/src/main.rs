//! One process that plays AWS for edgerotate's tests and checks what AWS checks: the IoT Core credential provider
//! behind mutual TLS, S3 with session credentials that expire, and a control interface to set things up and break them.

mod client_keys;
mod control;
mod faults;
mod files;
mod listener;
mod pki;
mod provider;
mod registry;
mod reply;
mod request_log;
mod s3;
mod s3_access;
mod s3_caller;
mod secrets;
mod tls;

use std::{
    error::Error,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use nix::sys::{prctl, signal::Signal};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    control::Control,
    faults::{Faults, ProviderFaults, S3Faults},
    listener::Port,
    pki::Pki,
    registry::{Ports, Registry, RoleAlias},
    request_log::RequestLog,
    s3::S3,
    tls::Tls,
};

type Failure = Box<dyn Error + Send + Sync>;

const ROLE_ALIAS: &str = "edgerotate-role-alias";

/// Plays AWS on loopback: the IoT Core credential provider and S3.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Everything is kept here: authorities, objects, credentials issued, the log. A second start takes it up again
    #[arg(long)]
    directory: PathBuf,
    /// Lifetime in seconds of the credentials of the first role alias, where the directory is new
    #[arg(long, default_value_t = 900)]
    lifetime: i64,
    #[arg(long, default_value = "eu-central-1")]
    region: String,
    #[arg(long, default_value = "replica")]
    bucket: String,
    /// End when the parent process ends, however it does
    #[arg(long)]
    tie_to_parent: bool,
}

/// What the three sides share.
pub struct Cloud {
    region: String,
    bucket: String,
    /// The one endpoint of this account.
    endpoint_host: String,
    pki: Pki,
    tls: Tls,
    registry: Registry,
    log: Arc<RequestLog>,
    provider_faults: Faults<ProviderFaults>,
    s3_faults: Faults<S3Faults>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edgerotate-cloud: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.tie_to_parent {
        // From the first thread, before there are others: the kernel watches the thread that asked.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
    }
    fs::create_dir_all(&arguments.directory)?;
    let directory = fs::canonicalize(&arguments.directory)?;
    let lock = lock(&directory)?;
    // A stale one would look like a cloud that is ready.
    if let Err(error) = fs::remove_file(directory.join("cloud.json"))
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error.into());
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(run(arguments, &directory));
    // Requests under way end here, as at a power cut.
    runtime.shutdown_background();
    drop(lock);
    result
}

/// One cloud in a directory: its sockets could be shared without an error, its files could not.
fn lock(directory: &Path) -> Result<File, Failure> {
    let file = File::create(directory.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(format!("another edgerotate-cloud already serves {}", directory.display()).into())
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

async fn run(arguments: &Arguments, directory: &Path) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let alias = RoleAlias { lifetime_s: arguments.lifetime, ..RoleAlias::default() };
    let registry = Registry::open(directory, (ROLE_ALIAS, alias))?;
    let kept = registry.state().ports;
    let provider_port = Port::reserve(kept.map(|ports| ports.provider))?;
    let s3_port = Port::reserve(kept.map(|ports| ports.s3))?;
    let control_port = Port::reserve(kept.map(|ports| ports.control))?;
    let ports =
        Ports { provider: provider_port.number, s3: s3_port.number, control: control_port.number };
    registry.change(|state| state.ports = Some(ports))?;

    let pki = Pki::open(directory)?;
    let domain = format!(".credentials.iot.{}.localhost", arguments.region);
    let cloud = Arc::new(Cloud {
        region: arguments.region.clone(),
        bucket: arguments.bucket.clone(),
        endpoint_host: format!("abc123{domain}"),
        tls: Tls::new(&pki, &domain)?,
        pki,
        registry,
        log: Arc::new(RequestLog::open(&directory.join("requests.jsonl"))?),
        provider_faults: Faults::healthy(),
        s3_faults: Faults::healthy(),
    });
    let s3 = S3::new(&cloud, &directory.join("s3"))?;
    let control = Arc::new(Control {
        cloud: Arc::clone(&cloud),
        provider_port: Arc::clone(&provider_port),
        s3_port: Arc::clone(&s3_port),
    });

    let serving = async {
        tokio::try_join!(
            provider_port.run(|stream| provider::serve(Arc::clone(&cloud), stream)),
            s3_port.run(|stream| Arc::clone(&s3).serve(stream)),
            control_port.run(|stream| Arc::clone(&control).serve(stream)),
        )
    };
    let ready = async {
        for port in [&provider_port, &s3_port, &control_port] {
            port.set_refusing(false).await;
        }
        announce(&cloud, directory, ports)?;
        std::future::pending::<Result<(), Failure>>().await
    };
    tokio::select! {
        result = serving => result.map(|_| ()).map_err(Failure::from),
        result = ready => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Says where everything is, once connections are taken.
fn announce(cloud: &Cloud, directory: &Path, ports: Ports) -> Result<(), Failure> {
    let permanent = cloud.registry.state().permanent;
    let description = json!({
        "pid": std::process::id(),
        "endpoint": format!("https://{}:{}", cloud.endpoint_host, ports.provider),
        "region": cloud.region,
        "role_alias": ROLE_ALIAS,
        "bucket": cloud.bucket,
        "s3_endpoint": format!("http://127.0.0.1:{}", ports.s3),
        "control": format!("http://127.0.0.1:{}", ports.control),
        "ca_file": cloud.pki.server_root.certificate_file,
        "wrong_ca_file": cloud.pki.wrong_root.certificate_file,
        "permanent": permanent,
    });
    // The permanent key is in it.
    files::write_private(&directory.join("cloud.json"), description.to_string().as_bytes())?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{description}")?;
    stdout.flush()?;
    Ok(())
}
