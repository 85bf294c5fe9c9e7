//! What a host name of AWS's is the endpoint of: the one that is found first is seldom the
//! credential provider's.
//!
//! Sources: AWS IoT API reference, DescribeEndpoint (the types of endpoints); AWS IoT Developer
//! Guide, "Connect to AWS IoT FIPS endpoints" and "Using AWS IoT Core with interface VPC
//! endpoints"; AWS General Reference, "AWS IoT Core endpoints and quotas" (control plane, dual
//! stack, China); the European Sovereign Cloud's names end in amazonaws.eu.

/// What ends the names of AWS, by partition and network; the longer first where one ends another.
const SUFFIXES: &[&str] = &[
    ".vpce.amazonaws.com.cn",
    ".vpce.amazonaws.com",
    ".vpce.amazonaws.eu",
    ".amazonaws.com.cn",
    ".amazonaws.com",
    ".amazonaws.eu",
    ".api.amazonwebservices.com.cn",
    ".api.aws",
];

/// How to find the right one.
const TOLD_BY: &str = "the credential provider's is told by `aws iot describe-endpoint \
 --endpoint-type \
                       iot:CredentialProvider`";

/// What a name is, and why it can't be asked for credentials.
struct Kind {
    /// What comes between an account's or a fixed first label and the region.
    service: &'static str,
    is: &'static str,
}

/// `<anything>.SERVICE.REGION.SUFFIX`, or `SERVICE.REGION.SUFFIX` where the name begins with it.
const OTHERS: &[Kind] = &[
    Kind { service: "iot", is: "MQTT" },
    Kind { service: "iot-fips", is: "MQTT (FIPS)" },
    Kind { service: "jobs.iot", is: "AWS IoT's jobs" },
    Kind { service: "jobs.iot-fips", is: "AWS IoT's jobs (FIPS)" },
    Kind { service: "tunneling.iot", is: "AWS IoT's secure tunneling" },
    Kind { service: "s3", is: "S3" },
    Kind { service: "sts", is: "AWS STS" },
    Kind { service: "greengrass-ats.iot", is: "AWS IoT Greengrass" },
];

/// The same without a first label.
const OF_A_REGION: &[Kind] = &[
    Kind { service: "iot", is: "AWS IoT's control plane" },
    Kind { service: "iot-fips", is: "AWS IoT's control plane (FIPS)" },
    Kind { service: "s3", is: "S3" },
    Kind { service: "sts", is: "AWS STS" },
];

/// The services whose names are the credential provider's.
const CREDENTIALS: &[&str] = &["credentials.iot", "credentials.iot-fips"];

/// The region in a name of AWS's, whatever it is the endpoint of.
pub fn region(host: &str) -> Option<&str> {
    Some(parts(host)?.region)
}

/// What is wrong with a host name: it is another endpoint of AWS's. In words that follow the
/// setting's name.
pub fn mistaken(host: &str) -> Option<String> {
    let parts = parts(host)?;
    let first = parts.first;
    if parts.is_vpc && CREDENTIALS.contains(&parts.service) {
        return Some(format!(
            "is a VPC endpoint's own name, and AWS finds the account by the name that is asked \
             for: set the account's \
             name, and let the network's DNS lead it to the VPC endpoint; {TOLD_BY}"
        ));
    }
    if CREDENTIALS.contains(&parts.service) {
        return first
            .is_empty()
            .then(|| format!("lacks the account's part at its beginning; {TOLD_BY}"));
    }
    let kinds = if first.is_empty() { OF_A_REGION } else { OTHERS };
    let kind = kinds.iter().find(|kind| kind.service == parts.service)?;
    Some(format!("is the endpoint for {}; {TOLD_BY}", kind.is))
}

/// `FIRST.SERVICE.REGION.SUFFIX`.
struct Parts<'a> {
    /// All before the service; empty where the name begins with it.
    first: &'a str,
    service: &'a str,
    region: &'a str,
    is_vpc: bool,
}

fn parts(host: &str) -> Option<Parts<'_>> {
    let (suffix, rest) =
        SUFFIXES.iter().find_map(|suffix| Some((*suffix, host.strip_suffix(suffix)?)))?;
    let (before, region) = rest.rsplit_once('.')?;
    if !is_region(region) {
        return None;
    }
    let services = OTHERS.iter().chain(OF_A_REGION).map(|kind| kind.service);
    // The longest that fits: credentials.iot ends in iot.
    let service = services
        .chain(CREDENTIALS.iter().copied())
        .filter(|service| ends_in_labels(before, service))
        .max_by_key(|service| service.len());
    let service = service.unwrap_or_default();
    let first = before[..before.len() - service.len()].trim_end_matches('.');
    Some(Parts { first, service, region, is_vpc: suffix.starts_with(".vpce") })
}

fn ends_in_labels(name: &str, labels: &str) -> bool {
    name.strip_suffix(labels).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Such as `eu-west-1`, `us-gov-east-1`, `eusc-de-east-1`.
fn is_region(label: &str) -> bool {
    let mut parts = label.rsplit('-');
    let number = parts.next().is_some_and(|part| part.parse::<u8>().is_ok());
    let words: Vec<&str> = parts.collect();
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    number && words.len() >= 2 && words.iter().all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_providers_name_is_taken_in_each_partition() {
        for (host, in_region) in [
            ("a1.credentials.iot.eu-west-1.amazonaws.com", "eu-west-1"),
            ("a1.credentials.iot.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("a1.credentials.iot.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("a1.credentials.iot.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
            ("a1.credentials.iot.eu-west-1.api.aws", "eu-west-1"),
            ("data.credentials.iot-fips.us-west-2.amazonaws.com", "us-west-2"),
            ("a1.credentials.iot-fips.us-gov-east-1.amazonaws.com", "us-gov-east-1"),
        ] {
            assert_eq!((region(host), mistaken(host)), (Some(in_region), None), "{host}");
        }
    }

    #[test]
    fn another_endpoint_is_named_for_what_it_is() {
        for (host, words) in [
            ("a1-ats.iot.eu-west-1.amazonaws.com", "is the endpoint for MQTT;"),
            ("a1.iot.eu-west-1.amazonaws.com", "is the endpoint for MQTT;"),
            ("a1-ats.iot.cn-north-1.amazonaws.com.cn", "is the endpoint for MQTT;"),
            ("a1-ats.iot.eu-west-1.api.aws", "is the endpoint for MQTT;"),
            ("data.iot-fips.us-west-2.amazonaws.com", "is the endpoint for MQTT (FIPS);"),
            ("a1.jobs.iot.eu-west-1.amazonaws.com", "is the endpoint for AWS IoT's jobs;"),
            ("iot.eu-west-1.amazonaws.com", "is the endpoint for AWS IoT's control plane;"),
            ("iot.eu-west-1.api.aws", "is the endpoint for AWS IoT's control plane;"),
            ("s3.eu-west-1.amazonaws.com", "is the endpoint for S3;"),
            ("a-bucket.s3.eu-west-1.amazonaws.com", "is the endpoint for S3;"),
            ("credentials.iot.eu-west-1.amazonaws.com", "lacks the account's part"),
            (
                "vpce-0a-1b.credentials.iot.eu-west-1.vpce.amazonaws.com",
                "is a VPC endpoint's own name",
            ),
        ] {
            let told = mistaken(host).unwrap_or_default();
            assert!(told.starts_with(words), "{host}: {told}");
            assert!(told.contains("iot:CredentialProvider"), "{host}: {told}");
            assert!(region(host).is_some(), "{host} has a region");
        }
    }

    #[test]
    fn what_is_not_aws_is_nobodys_business() {
        for host in [
            "localhost",
            "provider.test",
            "a1.credentials.iot.eu-central-1.localhost",
            "a1.credentials.iot.eu.west.amazonaws.com",
            "a1.credentials.iot.eu-west-1.example.com",
            "eu-west-1.amazonaws.com.example.com",
        ] {
            assert_eq!((region(host), mistaken(host)), (None, None), "{host}");
        }
    }
}
