//! Notifications of the settings file: at every start the catalog is made to say what the
//! file says. What the file no longer has goes; what people made by hand stays.

use flowmeter_engine::{Error, Kind};

use super::{Installation, Refused, Who};
use crate::notifications::{Draft, Notification};
use crate::problem::{Code, Problem};

/// Who changes them, in the audit.
const WHO: &str = "settings";

impl Installation {
    /// Makes the declared notifications what the settings say.
    pub(super) fn declare_notifications(&self) -> Result<(), Error> {
        let at = |why: Refused| Error::new(Kind::Invalid, format!("notifications.declared: {}", why.detail));
        let who = Who { name: WHO.to_owned(), namespace: self.settings.namespace.clone() };
        let declared = &self.settings.declared;
        for known in self.all_notifications()?.iter().filter(|known| known.declared) {
            let stays = known.namespace == who.namespace && declared.iter().any(|one| one.name == known.name);
            if !stays {
                let who = Who { namespace: known.namespace.clone(), ..who.clone() };
                self.remove_notification(&who, known).map_err(at)?;
            }
        }
        let known = self.notifications(&who.namespace)?;
        for one in declared {
            let draft = Draft::read(&one.fields).map_err(at)?;
            match known.iter().find(|known| known.name == one.name) {
                None => drop(self.make_notification(&who, draft, true).map_err(at)?),
                Some(known) if known.declared && known.says(&draft) => {}
                Some(known) => {
                    if !known.declared {
                        tracing::warn!(name = known.name, "a notification made by hand is one of the settings file from now on");
                    }
                    drop(self.change_notification(&who, known, draft, true).map_err(at)?);
                }
            }
        }
        Ok(())
    }
}

/// What the settings file declares is changed there.
pub(super) fn must_be_made_by_hand(known: &Notification) -> Result<(), Refused> {
    if !known.declared {
        return Ok(());
    }
    let detail = format!("`{}` is declared in the settings file; change it there, and start the server again", known.name);
    let remedy = "Change notifications.declared of the settings file and start the server again";
    Err(Box::new(Problem::new(Code::Conflict, detail).remedy(remedy)))
}
