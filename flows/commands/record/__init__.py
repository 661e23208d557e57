"""Commands that keep the record: people, audit, garbage, quarantine, moving."""
