//! Who a container's process runs as: Docker's `user[:group]`, looked up in the image's passwd and group files.
//!
//! Mirrors moby's `daemon/oci_linux.go` (`getUser`) and its user library's messages. Which files to read is the
//! caller's matter; they are read inside the container's root there.

use crate::error::{Error, Result};

/// IDs for the container's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) additional_gids: Vec<u32>,
    /// Home folder, for HOME.
    pub(crate) home: String,
}

/// Resolves `spec` (`user`, `uid`, `user:group`, …) and the extra groups against the texts of /etc/passwd and
/// /etc/group.
pub(crate) fn resolve(
    spec: &str,
    group_add: &[String],
    passwd: &str,
    group: &str,
) -> Result<ProcessUser> {
    let (user, wanted_group) = spec.split_once(':').unwrap_or((spec, ""));
    let entry = find_user(passwd, user);
    let numeric = user.parse::<u32>().ok();
    let (uid, mut gid, home, name) = match (&entry, numeric) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home.to_owned(), entry.name),
        (None, _) if user.is_empty() => (0, 0, "/".to_owned(), ""),
        (None, Some(uid)) => (uid, 0, "/".to_owned(), ""),
        (None, None) => {
            return Err(Error::invalid(format!(
                "unable to find user {user}: no matching entries in passwd file"
            )));
        }
    };
    let mut additional_gids = Vec::new();
    if wanted_group.is_empty() {
        if !name.is_empty() {
            additional_gids.extend(groups(group).filter(|g| g.has_member(name)).map(|g| g.gid));
        }
    } else {
        gid = find_group(group, wanted_group)?;
    }
    for extra in group_add {
        additional_gids.push(find_group(group, extra)?);
    }
    if !additional_gids.contains(&gid) {
        additional_gids.insert(0, gid);
    }
    let home = if home.is_empty() { "/".to_owned() } else { home };
    Ok(ProcessUser { uid, gid, additional_gids, home })
}

struct UserEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// By name, or by number where nothing has that name; the default is user 0.
fn find_user<'a>(passwd: &'a str, wanted: &str) -> Option<UserEntry<'a>> {
    let wanted = if wanted.is_empty() { "0" } else { wanted };
    let entries = || {
        passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(UserEntry { name, uid, gid, home: fields.nth(1).unwrap_or("/") })
        })
    };
    let number: Option<u32> = wanted.parse().ok();
    entries().find(|e| e.name == wanted).or_else(|| entries().find(|e| Some(e.uid) == number))
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl GroupEntry<'_> {
    fn has_member(&self, user: &str) -> bool {
        self.members.split(',').any(|member| member == user)
    }
}

fn groups(text: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(GroupEntry { name, gid, members: fields.next().unwrap_or("") })
    })
}

fn find_group(text: &str, wanted: &str) -> Result<u32> {
    let by_name = groups(text).find(|g| g.name == wanted).map(|g| g.gid);
    by_name.or_else(|| wanted.parse().ok()).ok_or_else(|| {
        let why = "no matching entries in group file";
        Error::invalid(format!("unable to find group {wanted}: {why}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:www:/srv:/bin/false\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:web\nweb:x:34:\n";

    #[test]
    fn resolves_users() {
        let check = |spec: &str, expect: std::result::Result<(u32, u32, &[u32], &str), &str>| {
            let found = resolve(spec, &[], PASSWD, GROUP);
            let found = found
                .as_ref()
                .map(|u| (u.uid, u.gid, u.additional_gids.as_slice(), u.home.as_str()))
                .map_err(ToString::to_string);
            assert_eq!(found, expect.map_err(str::to_owned), "{spec}");
        };
        check("", Ok((0, 0, &[0], "/root")));
        check("web", Ok((33, 34, &[34, 50], "/srv")));
        check("33", Ok((33, 34, &[34, 50], "/srv")));
        check("web:staff", Ok((33, 50, &[50], "/srv")));
        check("1000:1000", Ok((1000, 1000, &[1000], "/")));
        check("1000", Ok((1000, 0, &[0], "/")));
        check("joe", Err("unable to find user joe: no matching entries in passwd file"));
        check("web:joe", Err("unable to find group joe: no matching entries in group file"));
    }
}
