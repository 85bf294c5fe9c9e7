//! The steps of `check`, in the order in which they are told.

macro_rules! steps {
    ($($step:ident $name:literal $label:literal;)*) => {
        /// What is looked at, in the order in which it is told.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Step {
            $($step,)*
        }

        impl Step {
            pub const ALL: &[Self] = &[$(Self::$step),*];

            /// The stable name, in kebab case.
            pub fn name(self) -> &'static str {
                match self { $(Self::$step => $name),* }
            }

            /// As a person reads it.
            pub fn label(self) -> &'static str {
                match self { $(Self::$step => $label),* }
            }
        }
    };
}

steps! {
    Settings "settings" "settings";
    Daemon "daemon" "daemon";
    RuntimeDirectory "runtime-directory" "runtime directory";
    StateDirectory "state-directory" "state directory";
    CertificateFile "certificate-file" "certificate file";
    KeyFile "key-file" "key file";
    PinFile "pin-file" "PIN file";
    CaFile "ca-file" "CA file";
    Module "module" "PKCS#11 module";
    Token "token" "token";
    Pin "pin" "PIN";
    Key "key" "key";
    Certificate "certificate" "certificate";
    Pair "key-and-certificate" "key and certificate";
    ThingName "thing-name" "thing name";
    Endpoint "endpoint" "endpoint";
    Tls "tls" "TLS";
    RoleAlias "role-alias" "role alias";
    Clock "clock" "clock";
    EnvironmentFile "environment-file" "environment file";
    Database "database" "database";
    Room "room" "room";
    Litestream "litestream" "Litestream";
    LitestreamConfig "litestream-config" "litestream.yml";
    LitestreamProcess "litestream-process" "Litestream runs";
    Guard "guard" "guard";
    Replica "replica" "replica";
}
