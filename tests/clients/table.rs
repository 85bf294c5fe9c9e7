//! What was seen, as the table that docs/programs.md has.

use std::{fs, time::Duration};

use crate::{
    client::Client,
    support::{Way, root},
};

/// One client, one way.
#[derive(Clone)]
pub struct Row {
    client: &'static str,
    version: String,
    way: Way,
    needs: &'static str,
    /// What it printed while there were no credentials yet.
    pub first_words: String,
    pub ends_at_start: bool,
    /// Seconds before the expiry of the old credentials at which new ones were first used.
    pub leads: Vec<f64>,
    /// The daemon away: seconds before the expiry at its last object; none if it went on past it.
    pub goes_on_until: Option<f64>,
    /// Seconds from the daemon's start to its first object.
    pub back_after: Option<f64>,
}

impl Row {
    pub fn new(client: &Client, way: Way) -> Self {
        Self {
            client: client.title,
            version: client.version(),
            way,
            needs: client.needs,
            first_words: String::new(),
            ends_at_start: false,
            leads: Vec::new(),
            goes_on_until: None,
            back_after: None,
        }
    }

    fn line(&self) -> String {
        let way = match self.way {
            Way::Endpoint => "endpoint",
            Way::Process => "`credential_process`",
            Way::Permanent => "permanent key",
        };
        let asks = match self.leads.iter().copied().reduce(f64::min) {
            Some(least) => {
                let most = self.leads.iter().copied().fold(least, f64::max);
                match (format!("{least:.0}"), format!("{most:.0}")) {
                    (least, most) if least == most => format!("{least} s before"),
                    (least, most) => format!("{least} to {most} s before"),
                }
            }
            None => "–".to_owned(),
        };
        let start = match (self.ends_at_start, self.first_words.as_str()) {
            (true, _) => "ends".to_owned(),
            (false, "") => "waits".to_owned(),
            (false, _) => "error, tries again".to_owned(),
        };
        let away = match self.goes_on_until {
            Some(left) => format!("until {left:.0} s are left"),
            None => "goes on".to_owned(),
        };
        let back = self.back_after.map_or("–".to_owned(), |seconds| format!("{seconds:.0} s"));
        format!(
            "| {} | {} | {way} | {} | {asks} | {start} | {away} | {back} |\n",
            self.client, self.version, self.needs
        )
    }
}

pub fn write(rows: &[Row], lifetime: Duration) {
    let mut text = format!(
        "Credentials of {} s.\n\n\
         | client | version | way | needs | asks again | no credentials yet | daemon away | back after |\n\
         |---|---|---|---|---|---|---|---|\n",
        lifetime.as_secs()
    );
    rows.iter().for_each(|row| text.push_str(&row.line()));
    text.push_str("\nWhat each said without credentials:\n\n");
    for row in rows {
        text.push_str(&format!("- {} ({:?}): {}\n", row.client, row.way, row.first_words));
    }
    eprintln!("{text}");
    let directory = root().join("target/clients");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("programs.md"), text).unwrap();
}
