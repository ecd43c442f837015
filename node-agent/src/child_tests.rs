//! Tests with real programs.

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

async fn shell(script: &str, input: &[u8], limit: Duration) -> Result<String, ChildError> {
    "sh -c".parse::<Program>().unwrap().run(&[script], input, limit).await
}

#[test]
fn a_command_is_words_with_quotes() {
    let program: Program = "ip netns exec 'n 1' nft".parse().unwrap();
    assert_eq!(program.arguments, ["netns", "exec", "n 1", "nft"]);
    assert_eq!("".parse::<Program>(), Err(ProgramError::Empty));
    assert_eq!("''".parse::<Program>(), Err(ProgramError::Empty));
    assert_eq!("nft 'x".parse::<Program>(), Err(ProgramError::Unclosed));
}

#[test]
fn where_nft_is_another_program_can_be_started() {
    let place = |command: &str| command.parse::<Program>().unwrap().place_of_nft("/agent");
    for (command, behind) in [
        ("ip netns exec n1 nft", "ip netns exec n1 /agent"),
        ("/bin/sh -c 'exec \"$@\"' wrapper nft", "/bin/sh -c 'exec \"$@\"' wrapper /agent"),
        ("sh /opt/wrapper nft", "sh /opt/wrapper /agent"),
    ] {
        assert_eq!(place(command), Place::Behind(behind.parse().unwrap()), "{command}");
    }
    for here in ["nft", "/opt/wrapper", "/usr/sbin/nft --debug all"] {
        assert_eq!(place(here), Place::Here, "{here}");
    }
    for nowhere in ["sh /opt/nft", "env A=b /bin/bash -x nft"] {
        assert_eq!(place(nowhere), Place::Nowhere, "{nowhere}");
    }
}

#[tokio::test]
async fn large_input_and_large_errors_do_not_block_each_other() {
    let input = vec![b'x'; 4 << 20];
    let echoed = shell("cat >&2; exit 3", &input, LIMIT).await;
    assert!(
        matches!(echoed, Err(ChildError::Failed { code: 3, stderr }) if stderr.as_str().len() == OUTPUT_LIMIT)
    );
}

#[tokio::test]
async fn the_whole_input_is_there_before_the_program_starts() {
    let size = shell("stat -L -c %s /proc/self/fd/0 && wc -c", &vec![b'x'; 1 << 20], LIMIT).await;
    assert_eq!(size.unwrap(), "1048576\n1048576\n");
}

#[tokio::test]
async fn input_that_nobody_reads_is_no_error() {
    let output = shell("echo done", &vec![b'x'; 4 << 20], LIMIT).await;
    assert_eq!(output.unwrap(), "done\n");
}

#[tokio::test]
async fn ends_are_told_apart() {
    let missing = "/nonexistent/nft".parse::<Program>().unwrap().run(&[], b"", LIMIT).await;
    assert!(matches!(missing, Err(ChildError::NotStarted { .. })), "{missing:?}");
    let failed = shell("echo why >&2; exit 1", b"", LIMIT).await;
    assert!(matches!(failed, Err(ChildError::Failed { code: 1, stderr }) if stderr.as_str() == "why"));
    let killed = shell("kill -SEGV $$", b"", LIMIT).await;
    assert!(matches!(killed, Err(ChildError::Killed { signal: 11, .. })), "{killed:?}");
}

#[tokio::test]
async fn a_hanging_program_is_killed_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
    let hung = shell(&script, b"", Duration::from_millis(500)).await;
    assert!(matches!(hung, Err(ChildError::TimedOut { .. })), "{hung:?}");
    let sleeper = std::fs::read_to_string(pid).unwrap();
    let stat = format!("/proc/{}/stat", sleeper.trim());
    // Killed; until init has reaped it, it is a zombie.
    let alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    for _ in 0..500 {
        if !alive() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{stat} is still there");
}

#[tokio::test]
async fn what_a_program_leaves_behind_does_not_hold_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; echo done", pid.display());
    assert_eq!(shell(&script, b"", LIMIT).await.unwrap(), "done\n");
    let sleeper = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(sleeper).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn the_environment_is_cleared() {
    let environment = "env".parse::<Program>().unwrap().run(&[], b"", LIMIT).await.unwrap();
    assert!(environment.lines().all(|line| line.starts_with("PATH=")), "{environment}");
}
