//! Incidents by mail (SMTP): one when it starts and one when it ends, in one conversation. Knows no records.

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as Security, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message as Letter, Tokio1Executor};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

use super::board::Thread;
use super::request::{Answer, chain};
use super::words::{Message, shortened};
use crate::secret::Secret;

/// The server has so long for each step.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Longer subjects are cut by who shows them.
const SUBJECT_MAX: usize = 150;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Begins in the clear, and goes on encrypted or not at all. Port 587.
    #[default]
    Starttls,
    /// Encrypted from the beginning. Port 465.
    Tls,
    /// In the clear, to this machine only. Port 25.
    None,
}

/// Sends mail.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// The server.
    pub host: String,
    /// Default: 587, 465 or 25, by `tls`.
    #[serde(default)]
    pub port: Option<u16>,
    /// starttls, tls, or none for a server on this machine [default: starttls].
    #[serde(default)]
    pub tls: Tls,
    /// Who logs in; goes with `password`.
    #[serde(default)]
    pub user: Option<String>,
    /// Goes with `user`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// The sender, such as Highwater <highwater@example.com>.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
}

impl Mail {
    pub fn check(&self) -> Result<(), String> {
        let address = |field: &str, text: &str| {
            text.parse::<Mailbox>().map_err(|error| format!("{field} = {text:?}: no address of mail: {error}"))
        };
        address("mail.from", &self.from)?;
        if self.to.is_empty() {
            return Err("mail.to: nobody is named".to_owned());
        }
        self.to.iter().try_for_each(|to| address("mail.to", to).map(|_| ()))?;
        let is_here = self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if self.host.is_empty() {
            return Err("mail.host: no server is named".to_owned());
        }
        if self.tls == Tls::None && !is_here {
            return Err(format!("mail.tls = \"none\" is for a server on this machine, not for {}", self.host));
        }
        if self.user.is_some() != self.password.is_some() {
            return Err("mail: user and password go together".to_owned());
        }
        Ok(())
    }
}

/// Whoever carries mail.
pub struct Post {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    /// What IDs of messages end with.
    domain: String,
}

impl Post {
    pub fn new(mail: &Mail) -> Result<Post, String> {
        let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| format!("{text:?}: {error}"));
        let tls = || TlsParameters::new(mail.host.clone()).map_err(|error| format!("TLS for mail: {}", chain(&error)));
        let (security, port) = match mail.tls {
            Tls::Starttls => (Security::Required(tls()?), 587),
            Tls::Tls => (Security::Wrapper(tls()?), 465),
            Tls::None => (Security::None, 25),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.host)
            .port(mail.port.unwrap_or(port))
            .timeout(Some(ANSWER_WITHIN))
            .tls(security);
        if let (Some(user), Some(password)) = (&mail.user, &mail.password) {
            transport = transport.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
        }
        let from = mailbox(&mail.from)?;
        let to = mail.to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?;
        let domain = from.email.domain().to_owned();
        Ok(Post { transport: transport.build(), from, to, domain })
    }

    pub async fn tell(&self, thread: &mut Thread, message: &Message) -> Answer {
        let (told, told_end, is_over) = (thread.receipt.told, thread.receipt.told_end, thread.is_over());
        // What changes in between is told by the mail at the end.
        if told && told_end == is_over {
            return Answer::Taken;
        }
        if !told {
            thread.receipt.title = message.title.clone();
        }
        let letter = match self.letter(thread, message, told) {
            Ok(letter) => letter,
            Err(reason) => return Answer::Refused(reason),
        };
        match self.transport.send(letter).await {
            Ok(_) => Answer::Taken,
            Err(error) => {
                let code = error.status().map(u16::from);
                // Whoever is not let in is not at fault with what he brings.
                let at_fault = error.is_permanent() && !matches!(code, Some(530 | 534 | 535 | 538));
                if at_fault { Answer::Refused(chain(&error)) } else { Answer::later(chain(&error)) }
            }
        }
    }

    /// `follows`: a mail of this incident was sent before, under the title that the receipt has.
    fn letter(&self, thread: &Thread, message: &Message, follows: bool) -> Result<Letter, String> {
        let plain: String = thread.key.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let first = format!("<{plain}.start@{}>", self.domain);
        let subject = shortened(&thread.receipt.title, SUBJECT_MAX);
        let mut letter = Letter::builder().from(self.from.clone()).date_now();
        for to in &self.to {
            letter = letter.to(to.clone());
        }
        letter = match follows {
            false => letter.subject(subject).message_id(Some(first)),
            true => {
                let state = if thread.is_over() { "end" } else { "again" };
                let id =
                    format!("<{plain}.{state}.{}@{}>", thread.end_s().unwrap_or(thread.receipt.told_s), self.domain);
                letter
                    .subject(format!("Re: {subject}"))
                    .message_id(Some(id))
                    .in_reply_to(first.clone())
                    .references(first)
            }
        };
        let part = |kind, body: String| SinglePart::builder().header(kind).body(body);
        let parts = MultiPart::alternative()
            .singlepart(part(ContentType::TEXT_PLAIN, plain_text(thread, message)))
            .singlepart(part(ContentType::TEXT_HTML, html(thread, message)));
        letter.multipart(parts).map_err(|error| format!("no mail can be made of it: {error}"))
    }
}

fn plain_text(thread: &Thread, message: &Message) -> String {
    let mut parts = vec![message.title.clone(), message.status.clone(), String::new(), message.text.clone()];
    if !message.list.is_empty() {
        parts.push(String::new());
        parts.extend(message.list.iter().map(|line| format!("- {line}")));
    }
    parts.extend(message.link.iter().map(|link| format!("\n{link}")));
    parts.push(format!("\n{}\n", place(thread)));
    parts.join("\n")
}

fn html(thread: &Thread, message: &Message) -> String {
    let title = match &message.link {
        Some(link) => format!("<a href=\"{}\">{}</a>", escaped(link), escaped(&message.title)),
        None => escaped(&message.title),
    };
    let list: String = message.list.iter().map(|line| format!("<li>{}</li>", escaped(line))).collect();
    let list = if list.is_empty() { list } else { format!("<ul>{list}</ul>") };
    format!(
        "<!doctype html><html><body style=\"font-family:sans-serif\"><p><b>{title}</b><br>{}</p><p>{}</p>{list}\
         <p style=\"color:#666\">{}</p></body></html>",
        escaped(&message.status),
        escaped(&message.text).replace('\n', "<br>"),
        escaped(&place(thread)),
    )
}

fn place(thread: &Thread) -> String {
    let place = thread.lead().map(|lead| format!("{} · {} · {}", lead.account, lead.region, lead.shared_event_id));
    place.unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Sink;
    use crate::sink::filter::tests::{end, record};
    use crate::sink::words::{Words, tests::thread};

    fn mail() -> Mail {
        Mail {
            host: "127.0.0.1".to_owned(),
            port: None,
            tls: Tls::None,
            user: None,
            password: None,
            from: "Highwater <highwater@example.com>".to_owned(),
            to: vec!["team@example.com".to_owned()],
        }
    }

    #[tokio::test]
    async fn an_end_answers_its_start() {
        let post = Post::new(&mail()).expect("a post");
        let words = Words::new(&Sink::default()).expect("words");
        let mut thread = thread(&[record(), end()]);
        thread.receipt.title = "[high] RunInstances\r\nBcc: evil@example.com".to_owned();
        let message = words.message(&thread).expect("a message");
        let text = |follows| {
            String::from_utf8(post.letter(&thread, &message, follows).expect("a letter").formatted()).expect("text")
        };
        let id = "<0f0e0a5b-1111-5c1b-8f0e-0a5b8f0e0a5b.start@example.com>";
        let (first, second) = (text(false), text(true));
        assert!(first.contains(&format!("Message-ID: {id}\r\n")), "{first}");
        assert!(
            second.contains(&format!("In-Reply-To: {id}\r\n")) && second.contains(&format!("References: {id}\r\n"))
        );
        assert!(second.contains("Subject: Re: ") && !second.contains("\r\nBcc:"), "{second}");
        assert!(second.contains("ended 14:41 UTC, 34 min") && second.contains("&lt;in&gt;"), "{second}");
    }

    #[test]
    fn mail_in_the_clear_stays_on_this_machine() {
        assert_eq!(mail().check(), Ok(()));
        assert!(Mail { host: "mail.example.com".to_owned(), ..mail() }.check().is_err());
        assert!(Mail { host: "mail.example.com".to_owned(), tls: Tls::Starttls, ..mail() }.check().is_ok());
        assert!(Mail { to: vec!["nobody".to_owned()], ..mail() }.check().is_err_and(|error| error.contains("nobody")));
        assert!(Mail { user: Some("u".to_owned()), ..mail() }.check().is_err());
    }
}
