CREATE TABLE guestbook_line (number INTEGER PRIMARY KEY, member_id TEXT NOT NULL, text TEXT NOT NULL);
