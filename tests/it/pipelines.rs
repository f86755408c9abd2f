//! The pipelines of docs/review.md: their commands, run on a real repository with two commits.
//!
//! isoplan, git, jq and the shell are the real ones. In place of `gh` and `curl` are stand-ins that keep comments in a
//! directory, because the forge is not here; the steps that install packages are not run.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::lab::node::{Node, PATH};
use crate::lab::{Program, in_namespace};
use crate::{ISOPLAN, has_namespace_of_its_own};

fn yaml(path: &str) -> (String, Value) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("read a pipeline");
    let value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    (text, value)
}

/// As GitHub: keeps each comment in a file `comments/ID`, and prints them as the `--jq` of the workflow would.
const GH: &str = r#"#!/bin/bash
set -eu
[ "$1" = api ] && [ -n "$GH_TOKEN" ]
echo "$*" >>"$FORGE/calls"
shift
method=GET body=
while [ $# -gt 0 ]; do
  case $1 in
    --silent|--paginate) ;;
    --jq) shift ;;
    -X) method=$2; shift ;;
    -F) body=${2#body=@}; shift ;;
    *) path=$1 ;;
  esac
  shift
done
case "$method $path" in
  "GET repos/o/r/issues/7/comments")
    for comment in "$FORGE"/comments/*; do
      [ -e "$comment" ] || continue
      printf '%s\t%s\n' "${comment##*/}" "$(head -n 1 "$comment")"
    done ;;
  "POST repos/o/r/issues/7/comments") cp "$body" "$FORGE/comments/$(($(ls "$FORGE/comments" | wc -l) + 100))" ;;
  "PATCH repos/o/r/issues/comments/"*) [ -e "$FORGE/comments/${path##*/}" ] && cp "$body" "$FORGE/comments/${path##*/}" ;;
  "DELETE repos/o/r/issues/comments/"*) rm "$FORGE/comments/${path##*/}" ;;
  *) echo "gh: $method $path" >&2; exit 1 ;;
esac
"#;

/// As GitLab, with JSON in its answers.
const CURL: &str = r#"#!/bin/bash
set -eu
echo "$*" >>"$FORGE/calls"
method=GET body= token=
while [ $# -gt 0 ]; do
  case $1 in
    --fail|--silent|--show-error) ;;
    --header) token=${2#PRIVATE-TOKEN: }; shift ;;
    --request) method=$2; shift ;;
    --data-urlencode) body=${2#body@}; shift ;;
    *) path=$1 ;;
  esac
  shift
done
[ "$token" = secret ]
notes=https://gitlab.example/api/v4/projects/3/merge_requests/7/notes
case "$method $path" in
  "GET https://gitlab.example/api/v4/user") echo '{"id": 42}' ;;
  "GET $notes?per_page=100&page=1")
    for comment in "$FORGE"/comments/*; do
      [ -e "$comment" ] || continue
      jq -n --rawfile body "$comment" --argjson id "${comment##*/}" '{id: $id, author: {id: 42}, body: $body}'
    done | jq -s . ;;
  "POST $notes") cp "$body" "$FORGE/comments/$(($(ls "$FORGE/comments" | wc -l) + 100))" ;;
  "PUT $notes/"*) [ -e "$FORGE/comments/${path##*/}" ] && cp "$body" "$FORGE/comments/${path##*/}" ;;
  "DELETE $notes/"*) rm "$FORGE/comments/${path##*/}" ;;
  *) echo "curl: $method $path" >&2; exit 1 ;;
esac
"#;

/// A repository and a forge, in a directory of their own.
struct Scene {
    isoplan: Program,
    env: BTreeMap<String, String>,
}

impl Scene {
    fn new() -> Self {
        has_namespace_of_its_own(&Node::own("host"));
        let isoplan = Program::new(ISOPLAN).expect("make a directory");
        let at = |name: &str| isoplan.directory().join(name);
        for directory in ["bin", "comments", "repository/hosts/web1", "out"] {
            fs::create_dir_all(at(directory)).expect("make a directory");
        }
        for (name, text) in [("gh", GH), ("curl", CURL)] {
            fs::write(at("bin").join(name), text).expect("write a stand-in");
            fs::set_permissions(at("bin").join(name), fs::Permissions::from_mode(0o755)).expect("set a mode");
        }
        std::os::unix::fs::symlink(ISOPLAN, at("bin/isoplan")).expect("link isoplan");
        let path = |name: &str| at(name).display().to_string();
        let env = BTreeMap::from([
            ("PATH".to_owned(), format!("{}:{PATH}:/usr/local/bin", path("bin"))),
            ("FORGE".to_owned(), path("")),
            ("HOME".to_owned(), path("")),
            ("GITHUB_STEP_SUMMARY".to_owned(), path("summary.md")),
            ("ISOPLAN_STATE_DIR".to_owned(), path("state")),
            ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
            ("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned()),
        ]);
        let scene = Self { isoplan, env };
        scene
            .sh("git init -q -b main . && git config user.name a && git config user.email a@example.org")
            .expect("git");
        scene
    }

    fn at(&self, name: &str) -> PathBuf {
        self.isoplan.directory().join(name)
    }

    /// Runs a script as the runner of a forge does, in the repository.
    fn sh(&self, script: &str) -> Result<String, String> {
        self.sh_with(script, &BTreeMap::new())
    }

    fn sh_with(&self, script: &str, env: &BTreeMap<String, String>) -> Result<String, String> {
        let output = Command::new("bash")
            .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script])
            .current_dir(self.at("repository"))
            .env_clear()
            .envs(&self.env)
            .envs(env)
            .output()
            .expect("run bash");
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(text) } else { Err(format!("{}\n{text}", output.status)) }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.at("repository").join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("make a directory");
        fs::write(path, text).expect("write a file");
    }

    fn commit(&self) {
        self.sh("git add -A && git commit -q -m change").expect("commit");
    }

    /// A host in the target branch, with its snapshot.
    fn base(&self) {
        self.write("hosts/web1/topology.toml", OLD);
        self.sh(
            "isoplan apply --yes hosts/web1/topology.toml && isoplan snapshot -o hosts/web1/snapshot.json",
        )
        .expect("make a snapshot");
        self.sh("isoplan remove --yes").expect("remove");
        self.commit();
    }

    fn comments(&self) -> Vec<String> {
        let all = fs::read_dir(self.at("comments")).expect("list the comments");
        let mut all: Vec<_> = all.map(|entry| entry.expect("list").path()).collect();
        all.sort();
        all.iter().map(|path| fs::read_to_string(path).expect("read a comment")).collect()
    }
}

const OLD: &str = "[[bridge]]\nname = \"docker0\"\nsubnets = [\"172.17.0.0/16\"]\n\
    [[nic]]\nname = \"eth0\"\nrole = \"service\"\nsubnets = [\"192.168.56.0/24\"]\n\
    [[nic]]\nname = \"eth1\"\nrole = \"storage\"\nsubnets = [\"192.168.57.0/24\"]\n";

fn opening() -> String {
    OLD.replace("\"docker0\"\n", "\"docker0\"\nreach = [\"service\", \"storage\"]\n")
}

fn closing() -> String {
    OLD.replace("\"docker0\"\n", "\"docker0\"\nreach = []\n")
}

/// The environment of a job or step: expressions are GitHub's to fill in, none is unknown here.
fn github_env(value: &Value) -> BTreeMap<String, String> {
    let fill = |text: &str| match text {
        "${{ github.token }}" => "secret".to_owned(),
        "${{ github.repository }}" => "o/r".to_owned(),
        "${{ github.event.pull_request.number }}" => "7".to_owned(),
        "/tmp/isoplan-review" => "../out".to_owned(),
        text if text.contains("${{") => panic!("an expression that is not known here: {text}"),
        text => text.to_owned(),
    };
    let all = value.as_object().into_iter().flatten();
    all.map(|(key, value)| (key.clone(), fill(value.as_str().expect("a text")))).collect()
}

/// Runs the steps of the workflow up to the first that fails; says which that was, and the output.
fn github(scene: &Scene, has_label: bool) -> Result<(), (String, String)> {
    let (_, workflow) = yaml("docs/review/github.yml");
    let job = &workflow["jobs"]["review"];
    let mut ran = 0;
    for step in job["steps"].as_array().expect("steps") {
        let (Some(name), Some(script)) = (step["name"].as_str(), step["run"].as_str()) else { continue };
        if name == "Install isoplan" || (has_label && name.starts_with("What opens needs")) {
            continue;
        }
        let mut env = github_env(&job["env"]);
        env.extend(github_env(&step["env"]));
        scene.sh_with(script, &env).map_err(|said| (name.to_owned(), said))?;
        ran += 1;
    }
    assert_eq!(ran, if has_label { 4 } else { 5 });
    Ok(())
}

#[test]
fn the_commands_for_github() {
    in_namespace(|| {
        let scene = Scene::new();
        scene.base();
        scene.write("hosts/web1/topology.toml", &opening());
        scene.commit();
        let (step, said) = github(&scene, false).expect_err("it opens, and nobody set the label");
        assert!(step.starts_with("What opens needs the label"), "{step}: {said}");
        let comments = scene.comments();
        assert_eq!(comments.len(), 2, "{comments:?}");
        assert!(
            comments[0].starts_with("<!-- isoplan diff hosts/web1/topology.toml -->\n"),
            "{}",
            comments[0]
        );
        assert!(comments[1].starts_with("<!-- isoplan plan hosts/web1/topology.toml "), "{}", comments[1]);
        assert!(comments.iter().all(|comment| comment.contains("**opens ways of 4 pairs**")), "{comments:?}");
        assert!(fs::read_to_string(scene.at("summary.md")).expect("a summary").contains("**Opens**"));
        // With the label the packets are sent: what is open arrives, the rest does not.
        github(&scene, true).unwrap_or_else(|(step, said)| panic!("{step}: {said}"));

        // The next push closes instead: the same comments, with other words.
        scene.write("hosts/web1/topology.toml", &closing());
        scene.sh("git commit -q -a --amend -m change").expect("commit");
        github(&scene, false).unwrap_or_else(|(step, said)| panic!("{step}: {said}"));
        let comments = scene.comments();
        assert_eq!(comments.len(), 2, "{comments:?}");
        assert!(
            comments.iter().all(|comment| comment.contains("opens nothing, closes ways of")),
            "{comments:?}"
        );

        // And one that leaves it alone: the comments go. A new host needs the label.
        scene.write("hosts/web1/topology.toml", OLD);
        scene.write("hosts/web 2$(touch x)/topology.toml", OLD);
        scene.sh("git add -A && git commit -q --amend -m change").expect("commit");
        let (step, said) = github(&scene, false).expect_err("a new host");
        assert!(step.starts_with("What opens needs the label"), "{step}: {said}");
        assert_eq!(scene.comments(), Vec::<String>::new());
        assert!(!scene.at("repository/x").exists(), "a name was run");
        // So do a second exception of a pair that has one already, and a network that is not in the file any more.
        let exception =
            "[[allow]]\nfrom = \"docker0\"\nto = \"192.168.57.9\"\nprotocol = \"tcp\"\nports = [22]\n";
        let with_one = format!("{OLD}{exception}");
        let (bridge, rest) = OLD.split_once("[[nic]]").expect("a NIC");
        let without = format!("{}[[nic]]{rest}", bridge.replace("docker0", "br-web"));
        for (old, new) in [
            (with_one.as_str(), format!("{with_one}{}", exception.replace("57.9", "57.10"))),
            (OLD, without),
            // And one behind a file that was not right before.
            ("[[bridge]]\n", OLD.to_owned()),
        ] {
            scene.write("hosts/web1/topology.toml", old);
            scene.commit();
            scene.write("hosts/web1/topology.toml", &new);
            scene.commit();
            let (step, said) = github(&scene, false).expect_err("it opens");
            assert!(step.starts_with("What opens needs the label"), "{step}: {said}");
        }
        // A link instead of a file could lead to one that nobody reviews.
        scene.write("elsewhere.toml", &opening());
        scene.sh("ln -sf ../../elsewhere.toml hosts/web1/topology.toml").expect("a link");
        scene.commit();
        let (step, said) = github(&scene, true).expect_err("a link");
        assert_eq!(step, "Check every topology", "{said}");
        assert!(said.contains("have to be plain files"), "{said}");
        // A file with a mistake goes no further than the first step.
        scene.sh("rm hosts/web1/topology.toml").expect("remove the link");
        scene.write("hosts/web1/topology.toml", &OLD.replace("docker0", "docker 0"));
        scene.commit();
        let (step, said) = github(&scene, true).expect_err("a mistake");
        assert_eq!(step, "Check every topology", "{said}");
        assert!(said.contains("error: "), "{said}");
    });
}

/// Nothing that a pull request says gets into a script, permissions are the least, actions are pinned.
#[test]
fn the_workflow_for_github_trusts_nobody() {
    let (text, workflow) = yaml("docs/review/github.yml");
    assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }));
    assert!(workflow["on"].get("pull_request_target").is_none(), "{}", workflow["on"]);
    for (name, job) in workflow["jobs"].as_object().expect("jobs") {
        let allowed = serde_json::json!({ "contents": "read", "pull-requests": "write" });
        assert_eq!(job["permissions"], allowed, "{name}");
        for step in job["steps"].as_array().expect("steps") {
            assert!(!step["run"].as_str().unwrap_or_default().contains("${{"), "{step}");
        }
    }
    for line in text.lines().filter(|line| line.trim_start().starts_with("- uses:")) {
        let (_, pin) = line.split_once('@').expect("a version");
        let (commit, version) = pin.split_once(" # v").expect("a version behind the commit");
        assert!(commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{line}");
        assert!(version.split('.').count() == 3, "{line}");
    }
}

#[test]
fn the_commands_for_gitlab() {
    in_namespace(|| {
        let scene = Scene::new();
        scene.base();
        let base = scene.sh("git rev-parse HEAD").expect("a commit").trim().to_owned();
        let (_, pipeline) = yaml("docs/review/gitlab-ci.yml");
        // One shell runs all of them, one after another.
        let script_of = |job: &str| -> String {
            let lines = pipeline[job]["script"].as_array().expect("a script").iter();
            lines.map(|line| line.as_str().expect("a text").to_owned() + "\n").collect()
        };
        let run = |job: &str, labels: &str| {
            let mut env = BTreeMap::from(
                [
                    ("CI_MERGE_REQUEST_DIFF_BASE_SHA", base.as_str()),
                    ("CI_MERGE_REQUEST_LABELS", labels),
                    ("CI_API_V4_URL", "https://gitlab.example/api/v4"),
                    ("CI_PROJECT_ID", "3"),
                    ("CI_MERGE_REQUEST_IID", "7"),
                    ("ISOPLAN_REVIEW_TOKEN", "secret"),
                ]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
            );
            env.insert("OUT".to_owned(), "../out".to_owned());
            scene.sh_with(&script_of(job), &env)
        };
        scene.write("hosts/web1/topology.toml", &opening());
        scene.commit();
        let said = run("isoplan", "bug,area").expect_err("it opens, and nobody set the label");
        assert!(said.contains("This opens ways"), "{said}");
        let comments = scene.comments();
        assert_eq!(comments.len(), 2, "{comments:?}");
        assert!(comments.iter().all(|comment| comment.contains("**opens ways of 4 pairs**")), "{comments:?}");
        run("isoplan", "bug,network-opens").expect("with the label it is let through");
        assert_eq!(scene.comments().len(), 2);
        run("isoplan-lab", "").expect("what is open arrives, the rest does not");
        scene.write("hosts/web1/topology.toml", &closing());
        scene.commit();
        run("isoplan", "").expect("it closes");
        let comments = scene.comments();
        assert!(
            comments.iter().all(|comment| comment.contains("opens nothing, closes ways of")),
            "{comments:?}"
        );
        scene.write("hosts/web1/topology.toml", OLD);
        scene.commit();
        run("isoplan", "").expect("nothing differs");
        assert_eq!(scene.comments(), Vec::<String>::new());
    });
}
