//! One scenario in one world: what is asked, what is answered, and what has become of it.

mod course;
mod request;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use lockkeeper_e2e::{Traffic, User};
use lockkeeper_simulator::api::Kind;
use lockkeeper_simulator::api::object::text;
use serde_json::Value;
use tokio::time::timeout;

use super::names::Names;
use super::scenarios::host;
use super::state::Facts;
use super::world::World;
use course::Course;
pub use request::{Ask, Form};
use request::{Lines, send};

/// For an event that is bound to come.
const EVENT: Duration = Duration::from_secs(180);

/// Something that was done, or waited for, and what was seen then.
#[derive(Debug)]
pub struct Step {
    pub what: String,
    pub facts: Facts,
}

/// A scenario under way.
pub struct Play<'a> {
    pub namespace: String,
    world: World<'a>,
    names: Names,
    user: User,
    steps: Vec<Step>,
    /// Whether nothing was done since everything had settled.
    settled: bool,
    /// Whether it is noted which writes give an object a new version.
    versions: bool,
    course: Option<Course>,
    /// Ends with it.
    traffic: Option<Traffic>,
}

impl<'a> Play<'a> {
    pub async fn begin(world: World<'a>, namespace: &str) -> Result<Play<'a>> {
        world.prepare(namespace).await?;
        let (names, steps) = (Names::default(), Vec::new());
        Ok(Play {
            namespace: namespace.to_owned(),
            world,
            names,
            user: User::Admin,
            steps,
            settled: true,
            versions: false,
            course: None,
            traffic: None,
        })
    }

    /// What has happened.
    pub fn end(self) -> Vec<Step> {
        self.steps
    }

    /// Who asks from now on.
    pub fn act_as(&mut self, user: User) {
        self.user = user;
    }

    /// Notes from now on which writes give an object a new version. (Where a policy undoes the whole of a write, the real one may write its
    /// managed fields all the same.)
    pub fn note_versions(&mut self) {
        self.versions = true;
    }

    /// Asks, notes the answer, and gives what was answered.
    pub async fn ask(&mut self, ask: Ask) -> Result<Value> {
        let client = self.world.client(self.user)?;
        let before = self.before(&ask).await?;
        let answer = send(client, &ask, &self.namespace).await?;
        self.settled &= !ask.writes();
        let mut facts = Facts::new();
        let mut fact = |name: &str, value: String| facts.insert(name.to_owned(), value);
        fact("code", answer.code.to_string());
        let body = &answer.body;
        if body["kind"] == "Status" {
            fact("status", text(&body["status"]).to_owned());
            fact("reason", text(&body["reason"]).to_owned());
            // It joins the causes, in an order that nobody lays down.
            if body["reason"] != "Invalid" {
                fact("message", self.message(answer.code, text(&body["message"])));
            }
            for cause in body["details"]["causes"].as_array().into_iter().flatten() {
                if let Some((field, told)) = plain_cause(text(&cause["field"]), text(&cause["message"])) {
                    fact(&self.names.plain(&format!("cause {field}: {told}")), "is told".to_owned());
                }
            }
        } else if let Some(items) = body["items"].as_array() {
            let mut found: Vec<&str> = items.iter().map(|item| text(&item["metadata"]["name"])).collect();
            found.sort_unstable();
            fact("items", self.names.plain(&found.join(" ")));
        } else {
            fact("kind", text(&body["kind"]).to_owned());
            let moved = |before: &Value, field: &str| {
                let moved = before["metadata"][field] != body["metadata"][field];
                (if moved { "is new" } else { "is as before" }).to_owned()
            };
            // A pod's counts what the scheduler does, too, which the model has not, and a ReplicaSet's the steps of rollouts before.
            if !matches!(ask.kind, Kind::Pod | Kind::ReplicaSet) {
                fact("generation", body["metadata"]["generation"].to_string());
            } else if let Some(before) = before.as_ref().filter(|_| ask.kind == Kind::ReplicaSet) {
                fact("generation", moved(before, "generation"));
            }
            if let Some(before) = before.filter(|_| self.versions) {
                fact("resourceVersion", moved(&before, "resourceVersion"));
            }
            if body["kind"] == "Scale" {
                fact("scale", format!("{} of {}", body["status"]["replicas"], body["spec"]["replicas"]));
                fact("selector", text(&body["status"]["selector"]).to_owned());
            }
        }
        self.steps.push(Step { what: self.names.plain(&format!("{} asks: {ask}", self.user.name())), facts });
        Ok(answer.body)
    }

    /// Asks for something that must be done for the scenario to make sense: a refusal ends it.
    pub async fn demand(&mut self, ask: Ask) -> Result<Value> {
        let told = ask.to_string();
        let answer = self.ask(ask).await?;
        match answer["kind"] == "Status" && answer["status"] != "Success" {
            true => bail!("{told} is refused: {}", text(&answer["message"])),
            false => Ok(answer),
        }
    }

    pub async fn create(&mut self, kind: Kind, object: Value) -> Result<Value> {
        self.ask(Ask::create(kind, object)).await
    }

    pub async fn merge(&mut self, kind: Kind, name: &str, patch: Value) -> Result<Value> {
        self.ask(Ask::patch(kind, name, Form::Merge, patch)).await
    }

    pub async fn delete(&mut self, kind: Kind, name: &str) -> Result<Value> {
        self.ask(Ask::delete(kind, name, Value::Null)).await
    }

    /// The object as it is now, without a note of it.
    pub async fn peek(&self, kind: Kind, name: &str) -> Result<Value> {
        let answer = send(self.world.client(User::Admin)?, &Ask::get(kind, name), &self.namespace).await?;
        Ok(answer.body)
    }

    /// Those of a kind, without a note of it.
    pub async fn peek_all(&self, kind: Kind) -> Result<Vec<Value>> {
        let answer = send(self.world.client(User::Admin)?, &Ask::list(kind, &[]), &self.namespace).await?;
        Ok(answer.body["items"].as_array().cloned().unwrap_or_default())
    }

    /// The name of the ReplicaSet of this version; of several the latest by name.
    pub async fn set_of(&self, version: &str) -> Result<String> {
        Ok(text(&self.set(version).await?["metadata"]["name"]).to_owned())
    }

    /// The hash by which the pods of this version are told from others.
    pub async fn hash_of(&self, version: &str) -> Result<String> {
        Ok(text(&self.set(version).await?["spec"]["selector"]["matchLabels"]["pod-template-hash"]).to_owned())
    }

    async fn set(&self, version: &str) -> Result<Value> {
        let image = format!("demo:{version}");
        let sets = self.peek_all(Kind::ReplicaSet).await?.into_iter();
        let mut sets = sets.filter(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] == image.as_str());
        sets.next().with_context(|| format!("there is no ReplicaSet of version {version}"))
    }

    /// Waits until nobody has anything to do any more, and notes how everything is.
    pub async fn settle(&mut self) -> Result<()> {
        let at = self.steps.len();
        let facts = self.world.settle(&self.namespace, at, &mut self.names).await?;
        let after = self.steps.last().map_or_else(|| "the beginning".to_owned(), |step| step.what.clone());
        self.settled = true;
        self.steps.push(Step { what: format!("when everything has settled after: {after}"), facts });
        Ok(())
    }

    /// Requests to the route of `web` from now on, where there is somebody who answers: in the model nobody has to.
    pub fn send_requests(&mut self) -> Result<()> {
        self.traffic = self.world.send_requests(&host("web", &self.namespace));
        Ok(())
    }

    /// Waits until the Release `web` is in this phase. For what takes its time meanwhile without a sign of it.
    pub async fn until_phase(&mut self, phase: &str) -> Result<()> {
        let current = self.peek(Kind::Release, "web").await?;
        let since = text(&current["metadata"]["resourceVersion"]).to_owned();
        if current["status"]["phase"] == phase {
            return Ok(());
        }
        let ask = Ask::watch(Kind::Release, &[("resourceVersion", &since)]);
        let (_, mut lines) = request::open(self.world.client(User::Admin)?, &ask, &self.namespace).await?;
        let arrives = async {
            while let Some(line) = lines.next().await.transpose()? {
                let event: Value = serde_json::from_str(&line)?;
                if event["object"]["status"]["phase"] == phase {
                    return Ok(());
                }
            }
            bail!("the watch has ended")
        };
        timeout(EVENT, arrives).await.with_context(|| format!("it does not become {phase}"))?
    }

    /// Notes from now on by which steps everything goes, until `tell_course`.
    pub async fn follow_course(&mut self) -> Result<()> {
        self.course = Some(Course::begin(&self.world.client(User::Admin)?, &self.namespace).await?);
        Ok(())
    }

    /// Tells by which steps everything went.
    pub async fn tell_course(&mut self) -> Result<()> {
        let course = self.course.take().context("nobody has followed the course")?;
        let told = course.end(&self.world.client(User::Admin)?, &self.namespace).await?;
        let told = told.iter().enumerate().map(|(at, line)| (format!("{:03}", at + 1), self.names.plain(line)));
        self.steps.push(Step { what: "the course".into(), facts: told.collect() });
        Ok(())
    }

    /// Begins to watch; a refusal is noted.
    pub async fn watch(&mut self, kind: Kind, query: &[(&str, &str)]) -> Result<Option<Lines>> {
        let ask = Ask::watch(kind, query);
        let client = self.world.client(self.user)?;
        let (code, lines) = request::open(client, &ask, &self.namespace).await?;
        let facts = Facts::from([("code".to_owned(), code.to_string())]);
        self.steps.push(Step { what: format!("{} asks: {ask}", self.user.name()), facts });
        Ok((code == 200).then_some(lines))
    }

    /// Notes the events of a watch up to, and with, the last one that is wanted: the type, and the name of the object.
    pub async fn events(&mut self, lines: &mut Lines, last: (&str, &str)) -> Result<()> {
        let mut facts = Facts::new();
        let mut newest = 0;
        loop {
            let line = timeout(EVENT, lines.next()).await.with_context(|| format!("no event {last:?}"))?;
            let Some(line) = line.transpose()? else {
                facts.insert(format!("event {:02}", facts.len() + 1), "the end of the stream".into());
                break;
            };
            let event: Value = serde_json::from_str(&line)?;
            let (kind, object) = (text(&event["type"]), &event["object"]);
            let initial = &object["metadata"]["annotations"]["k8s.io/initial-events-end"];
            // Others come when the server thinks fit.
            if kind == "BOOKMARK" && initial.is_null() {
                continue;
            }
            let version: u64 = text(&object["metadata"]["resourceVersion"]).parse().unwrap_or_default();
            let order = if kind == "ERROR" || version >= newest { "" } else { ", older than the one before" };
            newest = newest.max(version);
            let name = match kind {
                "ERROR" => format!("{} {}", object["code"], text(&object["reason"])),
                "BOOKMARK" => format!("initial={initial}"),
                _ => format!("{} labels {}", text(&object["metadata"]["name"]), object["metadata"]["labels"]),
            };
            facts.insert(format!("event {:02}", facts.len() + 1), self.names.plain(&format!("{kind} {name}{order}")));
            if (kind, text(&object["metadata"]["name"])) == last {
                break;
            }
        }
        self.steps.push(Step { what: "events of the watch".into(), facts });
        Ok(())
    }

    /// The object of a request before it, where nobody else can change it meanwhile.
    async fn before(&self, ask: &Ask) -> Result<Option<Value>> {
        let alone = !matches!(ask.kind, Kind::Deployment | Kind::ReplicaSet | Kind::Pod | Kind::HTTPRoute);
        let wanted = self.versions || ask.kind == Kind::ReplicaSet;
        match &ask.name {
            Some(name) if wanted && ask.writes() && (alone || self.settled) => {
                Ok(Some(self.peek(ask.kind, name).await?))
            }
            Some(_) | None => Ok(None),
        }
    }

    fn message(&self, code: u16, message: &str) -> String {
        let plain = self.names.plain(message);
        // The versions that it names are each world's own.
        if code == 409 || code == 410 { plain.chars().filter(|c| !c.is_ascii_digit()).collect() } else { plain }
    }
}

/// A cause as both worlds tell it, with its field. The words of our own rules and of metadata are compared; which value it was, why the
/// library of the rules says that one fails, and how types and limits are put, are not.
fn plain_cause<'a>(field: &'a str, message: &'a str) -> Option<(&'a str, &'a str)> {
    if field == "<nil>" {
        // Only that rules were not asked, because there are other causes.
        return None;
    }
    if let Some((_, rule)) = message.split_once(" evaluating rule: ") {
        return Some((field, rule));
    }
    let told = match message.strip_prefix("Invalid value: ") {
        Some(rest) => without_value(rest),
        None => message.split(": ").next().unwrap_or(message),
    };
    let limits = [" in body ", "should be ", "must be of type", "should match"];
    let limit = message.contains(limits[0]) || limits.into_iter().any(|words| told.starts_with(words));
    Some((field, if limit { "is not of the type, or within the limits, of the schema" } else { told }))
}

/// What follows a value in JSON and a colon.
fn without_value(text: &str) -> &str {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let after = values.next().and_then(Result::ok).map_or(0, |_| values.byte_offset());
    text[after..].trim_start_matches(": ")
}
