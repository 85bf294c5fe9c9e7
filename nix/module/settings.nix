# Every setting of edgerotate as an option: what it takes, and which key it becomes. What is left at null is not written:
# then the program's own default counts, or the device's file.
{ lib }:

let
  inherit (lib) types;

  # As systemd writes them; a bare number is seconds.
  duration = types.either types.ints.unsigned (types.strMatching "[0-9]+ ?[a-z]+( [0-9]+ ?[a-z]+)*");
  size = types.strMatching "[0-9]+[KMG]?";
  word = types.strMatching "[^[:space:]]+";
  # Not types.path: a path literal would be copied into the store, which everybody can read.
  file = types.strMatching "/.*";

  setting = option: key: type: description: {
    path = lib.splitString "." option;
    inherit key type description;
  };
in
[
  (setting "endpoint" "EDGEROTATE_ENDPOINT" word
    "Host of the AWS IoT credential provider: `HOST`, `HOST:PORT` or `https://HOST[:PORT]`."
  )
  (setting "roleAlias" "EDGEROTATE_ROLE_ALIAS" (types.strMatching "[A-Za-z0-9_=,@-]{1,128}")
    "Role alias to ask for."
  )
  (setting "thingName" "EDGEROTATE_THING_NAME" (types.strMatching "[A-Za-z0-9:_-]{1,128}") ''
    Thing that the certificate is attached to. An image for many devices leaves it to each device's
    {file}`/data/edgerotate/device.env`.
  '')
  (setting "certificate" "EDGEROTATE_CERTIFICATE" file
    "PEM file with the device's certificate, and its chain if it has one."
  )
  (setting "privateKey" "EDGEROTATE_PRIVATE_KEY" word
    "The certificate's key: a `pkcs11:` URI, or a PEM file where there is no HSM."
  )
  (setting "pkcs11.pinFile" "EDGEROTATE_PKCS11_PIN_FILE" file ''
    File with the token's PIN, readable to edgerotate's user. Only its path is written to the store; a file in the store
    is refused.
  '')
  (setting "pkcs11.route" "EDGEROTATE_PKCS11_ROUTE" (types.enum [
    "engine"
    "provider"
  ]) "How OpenSSL reaches the module: by libp11's engine (the default) or by pkcs11-provider.")
  (setting "pkcs11.moduleEnvironment" "EDGEROTATE_MODULE_ENVIRONMENT" (types.listOf word)
    "Further environment variables that the PKCS#11 module reads: `NAME=VALUE`, or by name from edgerotate's own."
  )
  (setting "caFile" "EDGEROTATE_CA_FILE" (types.either file types.package)
    "PEM file with the authorities that the endpoint's certificate is checked against; default: the system's."
  )
  (setting "proxy.url" "EDGEROTATE_PROXY" (types.strMatching "none|https?://[^@/]+:[0-9]+")
    "Proxy by which the provider is asked: `http://HOST:PORT` or `https://HOST:PORT`."
  )
  (setting "proxy.userFile" "EDGEROTATE_PROXY_USER_FILE" file ''
    File with one line `USER:PASSWORD`, where the proxy asks for them, readable to edgerotate's user alone. Only its path
    is written to the store.
  '')
  (setting "region" "EDGEROTATE_REGION" word
    "Region handed to Litestream; default: the one in the endpoint's name."
  )
  (setting "environmentFile" "EDGEROTATE_ENVIRONMENT_FILE" file
    "The file with the credentials that Litestream's unit reads; belongs on tmpfs."
  )
  (setting "delivery" "EDGEROTATE_DELIVERY"
    (types.enum [
      "environment-file"
      "endpoint"
    ])
    ''
      How Litestream gets the credentials: by its environment file and a restart at each rotation (the default), or from an
      endpoint on loopback, without restarts.
    ''
  )
  (setting "endpointListen" "EDGEROTATE_ENDPOINT_LISTEN" (types.strMatching "127\\.0\\.0\\.1:[0-9]+")
    ''
      `127.0.0.1:PORT`, where programs on the device ask for the credentials as they do in a container; systemd listens there
      for edgerotate. Default: `127.0.0.1:9170` with the delivery `endpoint`, else none.
    ''
  )
  (setting "clientDirectory" "EDGEROTATE_CLIENT_DIRECTORY" file
    "Directory on tmpfs, with setgid, whose group may have the credentials."
  )
  (setting "database" "EDGEROTATE_DATABASE" file
    "The SQLite database that the heartbeat is written to."
  )
  (setting "allowVolatileDatabase" "EDGEROTATE_ALLOW_VOLATILE_DATABASE" types.bool
    "Whether the database may be on tmpfs, where a power cut ends it; default: no."
  )
  (setting "heartbeat.interval" "EDGEROTATE_HEARTBEAT_INTERVAL" duration
    "Time between two heartbeats; default: `5s`."
  )
  (setting "heartbeat.keepRows" "EDGEROTATE_HEARTBEAT_KEEP_ROWS" types.ints.unsigned
    "Number of heartbeats kept, the newest ones, or 0 for all; default: 100000."
  )
  (setting "restart.command" "EDGEROTATE_RESTART_COMMAND" types.str ''
    Program and arguments that restart Litestream. Not needed here: {file}`edgerotate-restart.path` does it, and edgerotate
    has no right to.
  '')
  (setting "restart.timeout" "EDGEROTATE_RESTART_TIMEOUT" duration
    "How long a restart of Litestream may take; default: `90s`."
  )
  (setting "litestream.unit" "EDGEROTATE_LITESTREAM_UNIT" word
    "Litestream's unit; default: `litestream.service`."
  )
  (setting "litestream.pidFile" "EDGEROTATE_LITESTREAM_PID_FILE" file
    "File with Litestream's process id, where it has no unit."
  )
  (setting "litestream.program" "EDGEROTATE_LITESTREAM" file
    "Litestream's program, with which `edgerotate verify` restores; default: the one that the unit runs."
  )
  (setting "litestream.configFile" "EDGEROTATE_LITESTREAM_CONFIG" file
    "Litestream's configuration; default: {file}`/etc/litestream.yml`."
  )
  (setting "litestream.metrics" "EDGEROTATE_LITESTREAM_METRICS" word
    "Litestream's metrics (`addr` in its settings), on loopback: `http://127.0.0.1:9090/metrics`; default: not watched."
  )
  (setting "snapshotTimeout" "EDGEROTATE_SNAPSHOT_TIMEOUT" duration
    "How long `edgerotate mend` may take for a forced snapshot before Litestream starts; default: `60s`."
  )
  (setting "metricsFile" "EDGEROTATE_METRICS_FILE" file
    "File for node_exporter's textfile collector, whose name ends in `.prom`; its directory must be there."
  )
  (setting "verify.maxLag" "EDGEROTATE_VERIFY_MAX_LAG" duration
    "How long a row may wait for the replica before it counts as behind; default: `5min`."
  )
  (setting "verify.stall" "EDGEROTATE_VERIFY_STALL" duration
    "How long a restore may get nowhere before `edgerotate verify` ends it; default: `2min`."
  )
  (setting "guard.databases" "EDGEROTATE_GUARD_DATABASES" (types.listOf file) ''
    Further SQLite databases that Litestream replicates, guarded while it restarts. edgerotate must be able to write them:
    see `ReadWritePaths=` in docs/device.md.
  '')
  (setting "guard.maxTime" "EDGEROTATE_GUARD_MAX_TIME" duration
    "How long a guard waits for a Litestream that runs and takes no read lock; default: `2min`."
  )
  (setting "guard.maxWal" "EDGEROTATE_GUARD_MAX_WAL" size
    "Size of a guarded database's WAL at which the guard is given up; default: `64M`."
  )
  (setting "runtimeDirectory" "EDGEROTATE_RUNTIME_DIRECTORY" file
    "Directory on tmpfs for what outlives a restart of the daemon; default: the unit's."
  )
  (setting "stateDirectory" "EDGEROTATE_STATE_DIRECTORY" file "Directory for what outlives a reboot.")
  (setting "rotationLead" "EDGEROTATE_ROTATION_LEAD" duration
    "How long before expiry a rotation begins, at most half the lifetime; default: `5min`."
  )
  (setting "bootSpread" "EDGEROTATE_BOOT_SPREAD" duration
    "A daemon that the boot starts waits a random part of this before it asks for its first credentials; default: `90s`."
  )
  (setting "connectTimeout" "EDGEROTATE_CONNECT_TIMEOUT" duration
    "How long the connection to the endpoint may take; default: `10s`."
  )
  (setting "fetchTimeout" "EDGEROTATE_FETCH_TIMEOUT" duration
    "How long one whole request may take; default: `30s`."
  )
  (setting "fetchDeadline" "EDGEROTATE_FETCH_DEADLINE" duration
    "When a fetch is killed, whatever it hangs in; default: `60s`."
  )
  (setting "log" "EDGEROTATE_LOG" (types.enum [
    "error"
    "warn"
    "info"
    "debug"
  ]) "What is logged; default: `info`.")
]
