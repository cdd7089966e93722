-- The hall's database, and a role that may do in it what a hall needs, and nothing else.
-- Run it once as the server's superuser; the password is read from a file:
--
--   MOOTHALL_PASSWORD_FILE=/path/to/database.password psql -v ON_ERROR_STOP=1 -f hall.sql postgres

\set password `cat "$MOOTHALL_PASSWORD_FILE"`

-- What four nodes take (hall.conf) and six for backups and the doctor; the rest is for you.
CREATE ROLE moothall LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
  CONNECTION LIMIT 90 PASSWORD :'password';

-- It belongs to the superuser, so that the hall cannot drop it.
CREATE DATABASE moothall TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
REVOKE ALL ON DATABASE moothall FROM PUBLIC;
GRANT CONNECT ON DATABASE moothall TO moothall;

\connect moothall
-- The hall makes its tables itself, and changes them when it is upgraded.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO moothall;
