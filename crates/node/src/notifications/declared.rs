//! Notifications of the settings file: every start makes the catalog match the file. Notifications
//! that the file no longer has are removed; those that were created over the API stay.

use flowmeter_engine::{Error, Kind};

use crate::audit::Who;
use crate::installation::Installation;
use crate::notifications::{Draft, Notification};
use crate::refusal::{Refusal, RefusalKind, Refused};

/// The author of these changes, in the audit.
const WHO: &str = "settings";

impl Installation {
    /// Makes the declared notifications match the settings.
    pub(crate) fn declare_notifications(&self) -> Result<(), Error> {
        let at = |why: Refused| Error::new(Kind::Invalid, format!("notifications.declared: {}", why.detail));
        let who = Who::named(WHO, self.settings.namespace.as_str());
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

/// Refuses a change of a notification that the settings file declares.
pub(crate) fn must_be_made_by_hand(known: &Notification) -> Result<(), Refused> {
    if !known.declared {
        return Ok(());
    }
    let detail = format!("`{}` is declared in the settings file; change it there, and start the server again", known.name);
    let remedy = "Change notifications.declared of the settings file and start the server again";
    Err(Box::new(Refusal::new(RefusalKind::Conflict, detail).remedy(remedy)))
}
