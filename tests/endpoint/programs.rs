//! Programs that use AWS by one way or another: boto3 and the AWS CLI, each with what a user would
//! give it.

use std::{process::Command, time::Duration};

use crate::support::{Device, Process, Way, cloud::Request, process::tied, tool};

/// A program that writes an object again and again and prints a line for each: `ok`, or what went
/// wrong.
pub struct Program {
    pub name: String,
    process: Process,
}

/// One client for all of its life, as a service has it.
const BOTO3: &str = "
import sys, time, boto3
from botocore.config import Config
endpoint, bucket, name, pause = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=endpoint, config=Config(retries={'max_attempts': 0}, s3={'addressing_style': 'path'}))
while True:
    try:
        s3.put_object(Bucket=bucket, Key=name + '/object', Body=b'a row')
        print('ok', flush=True)
    except Exception as e:
        print(repr(e), flush=True)
    time.sleep(float(pause))
";

/// A new process for each call, as a script has it.
const AWS_CLI: &str = r#"
while :; do
    "$1" --endpoint-url "$2" s3api put-object --bucket "$3" --key "$4/object" --body /etc/hostname >/dev/null && echo ok
    sleep "$5"
done
"#;

impl Program {
    pub fn boto3(device: &Device, way: Way, pause: Duration) -> Self {
        let mut command = tied(tool("venv/bin/python"));
        command.args(["-c", BOTO3]);
        Self::start(device, "boto3", way, command, pause)
    }

    pub fn aws_cli(device: &Device, way: Way, pause: Duration) -> Self {
        let mut command = tied("sh");
        command.args(["-c", AWS_CLI, "sh"]).arg(tool("venv/bin/aws"));
        Self::start(device, "aws-cli", way, command, pause)
    }

    fn start(device: &Device, kind: &str, way: Way, mut command: Command, pause: Duration) -> Self {
        let name = format!("{kind}-{way:?}").to_lowercase();
        command
            .args([&device.cloud.s3_endpoint(), &device.cloud.bucket(), &name])
            .arg(pause.as_secs_f32().to_string())
            .envs(way.environment(device, &device.scratch, &name))
            // Nothing of whoever runs the tests.
            .env("HOME", &*device.scratch);
        let process =
            Process::start(&name, &mut command, &device.scratch.join(format!("{name}.log")));
        Self { name, process }
    }

    pub fn stop(&mut self) {
        self.process.kill();
    }

    pub fn calls(&self) -> usize {
        self.process.output().lines().filter(|line| *line == "ok").count()
    }

    /// What else it printed.
    pub fn failures(&self) -> Vec<String> {
        let output = self.process.output();
        output.lines().filter(|line| *line != "ok").map(str::to_owned).collect()
    }

    pub fn made(&self, request: &Request) -> bool {
        request.is_below(&self.name)
    }
}
