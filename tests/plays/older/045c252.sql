-- sealing key: f5b165224a58b791df6af1d8303e61cdc4bb86c3d1c427103c344c4189eb2f1e
BEGIN TRANSACTION;
CREATE TABLE access_audit (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  path TEXT NOT NULL,
  outcome TEXT NOT NULL,
  source TEXT NOT NULL,
  request_id TEXT NOT NULL
);
INSERT INTO "access_audit" VALUES(1,1767225600000,'19b76daa800760e819bc924c','identity.register','','done','198.51.100.1','8d82ca63d21');
INSERT INTO "access_audit" VALUES(2,1767225600000,'19b76daa800760e819bc924c','identity.open_session','member/19b76daa800760e819bc924c','done','198.51.100.2','8d82ca63d22');
INSERT INTO "access_audit" VALUES(3,1767225600000,'19b76daa800760e819bc924c','access.claim_administration','','done','192.0.2.1','8d82ca63d23');
INSERT INTO "access_audit" VALUES(4,1767225600000,'19b76daa800760e819bc924f','identity.register','','done','198.51.100.3','8d82ca63d24');
INSERT INTO "access_audit" VALUES(5,1767225600000,'19b76daa800760e819bc924f','identity.open_session','member/19b76daa800760e819bc924f','done','198.51.100.4','8d82ca63d25');
INSERT INTO "access_audit" VALUES(6,1767225600000,'19b76daa800760e819bc9252','identity.register','','done','198.51.100.5','8d82ca63d26');
INSERT INTO "access_audit" VALUES(7,1767225600000,'19b76daa800760e819bc9252','identity.open_session','member/19b76daa800760e819bc9252','done','198.51.100.6','8d82ca63d27');
INSERT INTO "access_audit" VALUES(8,1767225600000,'19b76daa800760e819bc9255','identity.register','','done','198.51.100.7','8d82ca63d28');
INSERT INTO "access_audit" VALUES(9,1767225600000,'19b76daa800760e819bc9255','identity.open_session','member/19b76daa800760e819bc9255','done','198.51.100.8','8d82ca63d29');
INSERT INTO "access_audit" VALUES(10,1767225600000,'19b76daa800760e819bc9258','identity.register','','done','198.51.100.9','8d82ca63d2a');
INSERT INTO "access_audit" VALUES(11,1767225600000,'19b76daa800760e819bc9258','identity.open_session','member/19b76daa800760e819bc9258','done','198.51.100.10','8d82ca63d2b');
INSERT INTO "access_audit" VALUES(12,1767225600000,'19b76daa800760e819bc924c','access.define_role','','done','192.0.2.1','8d82ca63d2c');
INSERT INTO "access_audit" VALUES(13,1767225600000,'19b76daa800760e819bc924c','access.grant_role','','done','192.0.2.1','8d82ca63d2d');
INSERT INTO "access_audit" VALUES(14,1767225600000,'room:leaderboards for 19b76daa800760e819bc924c','access.grant_role','board/every','done','192.0.2.1','8d82ca63d2f');
INSERT INTO "access_audit" VALUES(15,1767225600000,'19b76daa800760e819bc924c','leaderboards.create_board','','done','192.0.2.1','8d82ca63d2f');
INSERT INTO "access_audit" VALUES(16,1767225600000,'19b76daa800760e819bc924f','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d210');
INSERT INTO "access_audit" VALUES(17,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d211');
INSERT INTO "access_audit" VALUES(18,1767225600000,'19b76daa800760e819bc9252','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d212');
INSERT INTO "access_audit" VALUES(19,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d213');
INSERT INTO "access_audit" VALUES(20,1767225600000,'19b76daa800760e819bc9255','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d214');
INSERT INTO "access_audit" VALUES(21,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d215');
INSERT INTO "access_audit" VALUES(22,1767225600000,'19b76daa800760e819bc9258','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d216');
INSERT INTO "access_audit" VALUES(23,1767225600000,'19b76daa800760e819bc924f','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d217');
INSERT INTO "access_audit" VALUES(24,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d218');
INSERT INTO "access_audit" VALUES(25,1767225600000,'19b76daa800760e819bc9252','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d219');
INSERT INTO "access_audit" VALUES(26,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d21a');
INSERT INTO "access_audit" VALUES(27,1767225600000,'19b76daa800760e819bc9255','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d21b');
INSERT INTO "access_audit" VALUES(28,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d21c');
INSERT INTO "access_audit" VALUES(29,1767225600000,'19b76daa800760e819bc9258','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d21d');
INSERT INTO "access_audit" VALUES(30,1767225600000,'19b76daa800760e819bc924f','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d21e');
INSERT INTO "access_audit" VALUES(31,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d21f');
INSERT INTO "access_audit" VALUES(32,1767225600000,'19b76daa800760e819bc9252','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d220');
INSERT INTO "access_audit" VALUES(33,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d221');
INSERT INTO "access_audit" VALUES(34,1767225600000,'19b76daa800760e819bc9255','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d222');
INSERT INTO "access_audit" VALUES(35,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d223');
INSERT INTO "access_audit" VALUES(36,1767225600000,'19b76daa800760e819bc9258','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d224');
INSERT INTO "access_audit" VALUES(37,1767225600000,'room:leaderboards for 19b76daa800760e819bc924c','access.grant_role','board/best','done','192.0.2.1','8d82ca63d225');
INSERT INTO "access_audit" VALUES(38,1767225600000,'19b76daa800760e819bc924c','leaderboards.create_board','','done','192.0.2.1','8d82ca63d225');
INSERT INTO "access_audit" VALUES(39,1767225600000,'19b76daa800760e819bc924f','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d226');
INSERT INTO "access_audit" VALUES(40,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d227');
INSERT INTO "access_audit" VALUES(41,1767225600000,'19b76daa800760e819bc9252','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d228');
INSERT INTO "access_audit" VALUES(42,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d229');
INSERT INTO "access_audit" VALUES(43,1767225600000,'19b76daa800760e819bc9255','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d22a');
INSERT INTO "access_audit" VALUES(44,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d22b');
INSERT INTO "access_audit" VALUES(45,1767225600000,'19b76daa800760e819bc9258','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d22c');
INSERT INTO "access_audit" VALUES(46,1767225600000,'19b76daa800760e819bc924f','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d22d');
INSERT INTO "access_audit" VALUES(47,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d22e');
INSERT INTO "access_audit" VALUES(48,1767225600000,'19b76daa800760e819bc9252','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d22f');
INSERT INTO "access_audit" VALUES(49,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d230');
INSERT INTO "access_audit" VALUES(50,1767225600000,'19b76daa800760e819bc9255','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d231');
INSERT INTO "access_audit" VALUES(51,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d232');
INSERT INTO "access_audit" VALUES(52,1767225600000,'19b76daa800760e819bc9258','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d233');
INSERT INTO "access_audit" VALUES(53,1767225600000,'19b76daa800760e819bc924f','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d234');
INSERT INTO "access_audit" VALUES(54,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d235');
INSERT INTO "access_audit" VALUES(55,1767225600000,'19b76daa800760e819bc9252','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d236');
INSERT INTO "access_audit" VALUES(56,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d237');
INSERT INTO "access_audit" VALUES(57,1767225600000,'19b76daa800760e819bc9255','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d238');
INSERT INTO "access_audit" VALUES(58,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d239');
INSERT INTO "access_audit" VALUES(59,1767225600000,'19b76daa800760e819bc9258','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d23a');
CREATE TABLE access_binding (
  subject TEXT NOT NULL,
  path TEXT NOT NULL,
  role TEXT NOT NULL,
  granted_by TEXT NOT NULL,
  granted_at_ms INTEGER NOT NULL,
  PRIMARY KEY (subject, path, role)
) WITHOUT ROWID;
INSERT INTO "access_binding" VALUES('19b76daa800760e819bc924c','','administrator','19b76daa800760e819bc924c',1767225600000);
INSERT INTO "access_binding" VALUES('19b76daa800760e819bc924f','','greeter','19b76daa800760e819bc924c',1767225600000);
INSERT INTO "access_binding" VALUES('everyone','board/best','board_writer','19b76daa800760e819bc924c',1767225600000);
INSERT INTO "access_binding" VALUES('everyone','board/every','board_writer','19b76daa800760e819bc924c',1767225600000);
CREATE TABLE access_claim (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  secret_digest TEXT NOT NULL,
  made_at_ms INTEGER NOT NULL,
  claimed_by TEXT,
  claimed_at_ms INTEGER
);
INSERT INTO "access_claim" VALUES(1,'226aeb9a6d94e03aaf9d046a4e77f693915d4496a4227ec7d156052e5cec4a22',1767225600000,'19b76daa800760e819bc924c',1767225600000);
CREATE TABLE access_role (
  name TEXT NOT NULL PRIMARY KEY,
  permissions TEXT NOT NULL,
  summary TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "access_role" VALUES('greeter','["members:read"]','',1767225600000);
CREATE TABLE action_event (
  cursor INTEGER PRIMARY KEY AUTOINCREMENT,
  stream TEXT NOT NULL,
  seq INTEGER NOT NULL,
  kind TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  data TEXT NOT NULL,
  UNIQUE (stream, seq)
);
INSERT INTO "action_event" VALUES(1,'identity',1,'identity.member_registered',1767225600000,'{"member_id":"19b76daa800760e819bc924c","name":"boss"}');
INSERT INTO "action_event" VALUES(2,'access',1,'access.role_granted',1767225600000,'{"subject":"19b76daa800760e819bc924c","role":"administrator","at":""}');
INSERT INTO "action_event" VALUES(3,'identity',2,'identity.member_registered',1767225600000,'{"member_id":"19b76daa800760e819bc924f","name":"ada"}');
INSERT INTO "action_event" VALUES(4,'identity',3,'identity.member_registered',1767225600000,'{"member_id":"19b76daa800760e819bc9252","name":"bo"}');
INSERT INTO "action_event" VALUES(5,'identity',4,'identity.member_registered',1767225600000,'{"member_id":"19b76daa800760e819bc9255","name":"cy"}');
INSERT INTO "action_event" VALUES(6,'identity',5,'identity.member_registered',1767225600000,'{"member_id":"19b76daa800760e819bc9258","name":"dee"}');
INSERT INTO "action_event" VALUES(7,'access',2,'access.role_defined',1767225600000,'{"name":"greeter","permissions":["members:read"]}');
INSERT INTO "action_event" VALUES(8,'access',3,'access.role_granted',1767225600000,'{"subject":"19b76daa800760e819bc924f","role":"greeter","at":""}');
INSERT INTO "action_event" VALUES(9,'access',4,'access.role_granted',1767225600000,'{"subject":"everyone","role":"board_writer","at":"board/every"}');
INSERT INTO "action_event" VALUES(10,'board/every',1,'leaderboards.board_created',1767225600000,'{"board_id":"every","name":"The every board"}');
INSERT INTO "action_event" VALUES(11,'board/every/moderation',1,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc925b","member_id":"19b76daa800760e819bc924f","score":0.0}');
INSERT INTO "action_event" VALUES(12,'board/every',2,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc925b","member_id":"19b76daa800760e819bc924f","score":0.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(13,'board/every/moderation',2,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc925d","member_id":"19b76daa800760e819bc9252","score":7.0}');
INSERT INTO "action_event" VALUES(14,'board/every',3,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc925d","member_id":"19b76daa800760e819bc9252","score":7.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(15,'board/every/moderation',3,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc925f","member_id":"19b76daa800760e819bc9255","score":4.0}');
INSERT INTO "action_event" VALUES(16,'board/every',4,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc925f","member_id":"19b76daa800760e819bc9255","score":4.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(17,'board/every/moderation',4,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9261","member_id":"19b76daa800760e819bc9258","score":1.0}');
INSERT INTO "action_event" VALUES(18,'board/every/moderation',5,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9263","member_id":"19b76daa800760e819bc924f","score":8.0}');
INSERT INTO "action_event" VALUES(19,'board/every',5,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9263","member_id":"19b76daa800760e819bc924f","score":8.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(20,'board/every/moderation',6,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9265","member_id":"19b76daa800760e819bc9252","score":5.0}');
INSERT INTO "action_event" VALUES(21,'board/every',6,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9265","member_id":"19b76daa800760e819bc9252","score":5.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(22,'board/every/moderation',7,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9267","member_id":"19b76daa800760e819bc9255","score":2.0}');
INSERT INTO "action_event" VALUES(23,'board/every',7,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9267","member_id":"19b76daa800760e819bc9255","score":2.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(24,'board/every/moderation',8,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9269","member_id":"19b76daa800760e819bc9258","score":9.0}');
INSERT INTO "action_event" VALUES(25,'board/every/moderation',9,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc926b","member_id":"19b76daa800760e819bc924f","score":6.0}');
INSERT INTO "action_event" VALUES(26,'board/every',8,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc926b","member_id":"19b76daa800760e819bc924f","score":6.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(27,'board/every/moderation',10,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc926d","member_id":"19b76daa800760e819bc9252","score":3.0}');
INSERT INTO "action_event" VALUES(28,'board/every',9,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc926d","member_id":"19b76daa800760e819bc9252","score":3.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(29,'board/every/moderation',11,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc926f","member_id":"19b76daa800760e819bc9255","score":0.0}');
INSERT INTO "action_event" VALUES(30,'board/every',10,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc926f","member_id":"19b76daa800760e819bc9255","score":0.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(31,'board/every/moderation',12,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9271","member_id":"19b76daa800760e819bc9258","score":7.0}');
INSERT INTO "action_event" VALUES(32,'access',5,'access.role_granted',1767225600000,'{"subject":"everyone","role":"board_writer","at":"board/best"}');
INSERT INTO "action_event" VALUES(33,'board/best',1,'leaderboards.board_created',1767225600000,'{"board_id":"best","name":"The best board"}');
INSERT INTO "action_event" VALUES(34,'board/best/moderation',1,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9273","member_id":"19b76daa800760e819bc924f","score":0.0}');
INSERT INTO "action_event" VALUES(35,'board/best',2,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9273","member_id":"19b76daa800760e819bc924f","score":0.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(36,'board/best/moderation',2,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9275","member_id":"19b76daa800760e819bc9252","score":7.0}');
INSERT INTO "action_event" VALUES(37,'board/best',3,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9275","member_id":"19b76daa800760e819bc9252","score":7.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(38,'board/best/moderation',3,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9277","member_id":"19b76daa800760e819bc9255","score":4.0}');
INSERT INTO "action_event" VALUES(39,'board/best',4,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9277","member_id":"19b76daa800760e819bc9255","score":4.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(40,'board/best/moderation',4,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9279","member_id":"19b76daa800760e819bc9258","score":1.0}');
INSERT INTO "action_event" VALUES(41,'board/best/moderation',5,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc927b","member_id":"19b76daa800760e819bc924f","score":8.0}');
INSERT INTO "action_event" VALUES(42,'board/best',5,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc927b","member_id":"19b76daa800760e819bc924f","score":8.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(43,'board/best/moderation',6,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc927d","member_id":"19b76daa800760e819bc9252","score":5.0}');
INSERT INTO "action_event" VALUES(44,'board/best',6,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc927d","member_id":"19b76daa800760e819bc9252","score":5.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(45,'board/best/moderation',7,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc927f","member_id":"19b76daa800760e819bc9255","score":2.0}');
INSERT INTO "action_event" VALUES(46,'board/best',7,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc927f","member_id":"19b76daa800760e819bc9255","score":2.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(47,'board/best/moderation',8,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9281","member_id":"19b76daa800760e819bc9258","score":9.0}');
INSERT INTO "action_event" VALUES(48,'board/best/moderation',9,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9283","member_id":"19b76daa800760e819bc924f","score":6.0}');
INSERT INTO "action_event" VALUES(49,'board/best',8,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9283","member_id":"19b76daa800760e819bc924f","score":6.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(50,'board/best/moderation',10,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9285","member_id":"19b76daa800760e819bc9252","score":3.0}');
INSERT INTO "action_event" VALUES(51,'board/best',9,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9285","member_id":"19b76daa800760e819bc9252","score":3.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(52,'board/best/moderation',11,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9287","member_id":"19b76daa800760e819bc9255","score":0.0}');
INSERT INTO "action_event" VALUES(53,'board/best',10,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9287","member_id":"19b76daa800760e819bc9255","score":0.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(54,'board/best/moderation',12,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9289","member_id":"19b76daa800760e819bc9258","score":7.0}');
CREATE TABLE action_migration (
  room TEXT NOT NULL, number BIGINT NOT NULL, name TEXT NOT NULL,
  digest TEXT NOT NULL, applied_at_ms BIGINT NOT NULL, PRIMARY KEY (room, number));
INSERT INTO "action_migration" VALUES('action',1,'framework','47ca6039bca8252102dd1ff3b8a6de49',1767225600000);
INSERT INTO "action_migration" VALUES('access',1,'access','4d2ac05aa9dfd18067c04fa6ffe6d920',1767225600000);
INSERT INTO "action_migration" VALUES('identity',1,'identity','1bb706c056a6de4cd518dfffa713270d',1767225600000);
INSERT INTO "action_migration" VALUES('leaderboards',1,'board','f3f740c22e2fbd677192e19da4ffb362',1767225600000);
INSERT INTO "action_migration" VALUES('leaderboards',2,'rank','e3737d885779d2f6c028ee1ef3af1527',1767225600000);
CREATE TABLE action_reply (
  day INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  key TEXT NOT NULL,
  request_digest TEXT NOT NULL,
  reply TEXT,
  PRIMARY KEY (day, actor, action, key)
) WITHOUT ROWID;
CREATE TABLE action_stream (
  stream TEXT NOT NULL PRIMARY KEY,
  last_seq INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "action_stream" VALUES('access',5);
INSERT INTO "action_stream" VALUES('board/best',10);
INSERT INTO "action_stream" VALUES('board/best/moderation',12);
INSERT INTO "action_stream" VALUES('board/every',10);
INSERT INTO "action_stream" VALUES('board/every/moderation',12);
INSERT INTO "action_stream" VALUES('identity',5);
CREATE TABLE identity_key (
  kid TEXT NOT NULL PRIMARY KEY,
  sealed_hex TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  retired_at_ms INTEGER
) WITHOUT ROWID;
INSERT INTO "identity_key" VALUES('7bd5d47e446fcec2','a3d811736110e5781bcccea60f41d6753acdfff8590b57d5fdba8381af2833aa74fafa3d48089311d240f05f9bd6ef37c5bfffaa755750b73f76db3d',1767225600000,NULL);
CREATE TABLE identity_member (
  member_id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  name_key TEXT NOT NULL UNIQUE,
  password_hash TEXT,
  created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "identity_member" VALUES('19b76daa800760e819bc924c','boss','boss','cheap:7be1fe5b9a3e23566a4e181ff2dbcbe7',1767225600000);
INSERT INTO "identity_member" VALUES('19b76daa800760e819bc924f','ada','ada','cheap:7be1fe5b9a3e23566a4e181ff2dbcbe7',1767225600000);
INSERT INTO "identity_member" VALUES('19b76daa800760e819bc9252','bo','bo','cheap:7be1fe5b9a3e23566a4e181ff2dbcbe7',1767225600000);
INSERT INTO "identity_member" VALUES('19b76daa800760e819bc9255','cy','cy','cheap:7be1fe5b9a3e23566a4e181ff2dbcbe7',1767225600000);
INSERT INTO "identity_member" VALUES('19b76daa800760e819bc9258','dee','dee','cheap:7be1fe5b9a3e23566a4e181ff2dbcbe7',1767225600000);
CREATE TABLE identity_session (
  session_id TEXT NOT NULL PRIMARY KEY,
  member_id TEXT NOT NULL REFERENCES identity_member (member_id),
  generation INTEGER NOT NULL,
  opened_at_ms INTEGER NOT NULL,
  rotated_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER,
  source TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "identity_session" VALUES('19b76daa800760e819bc924d','19b76daa800760e819bc924c',1,1767225600000,1767225600000,1769817600000,NULL,'198.51.100.2');
INSERT INTO "identity_session" VALUES('19b76daa800760e819bc9250','19b76daa800760e819bc924f',1,1767225600000,1767225600000,1769817600000,NULL,'198.51.100.4');
INSERT INTO "identity_session" VALUES('19b76daa800760e819bc9253','19b76daa800760e819bc9252',1,1767225600000,1767225600000,1769817600000,NULL,'198.51.100.6');
INSERT INTO "identity_session" VALUES('19b76daa800760e819bc9256','19b76daa800760e819bc9255',1,1767225600000,1767225600000,1769817600000,NULL,'198.51.100.8');
INSERT INTO "identity_session" VALUES('19b76daa800760e819bc9259','19b76daa800760e819bc9258',1,1767225600000,1767225600000,1769817600000,NULL,'198.51.100.10');
CREATE TABLE leaderboards_board (
  board_id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  direction TEXT NOT NULL,
  counting TEXT NOT NULL,
  default_level TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "leaderboards_board" VALUES('best','The best board','descending','best','write','19b76daa800760e819bc924c',1767225600000);
INSERT INTO "leaderboards_board" VALUES('every','The every board','descending','every','write','19b76daa800760e819bc924c',1767225600000);
CREATE TABLE leaderboards_comment (
  comment_id TEXT NOT NULL PRIMARY KEY,
  entry_id TEXT NOT NULL REFERENCES leaderboards_entry (entry_id) ON DELETE CASCADE,
  member_id TEXT NOT NULL,
  text TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc925c','19b76daa800760e819bc925b','19b76daa800760e819bc924f','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc925e','19b76daa800760e819bc925d','19b76daa800760e819bc9252','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9260','19b76daa800760e819bc925f','19b76daa800760e819bc9255','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9262','19b76daa800760e819bc9261','19b76daa800760e819bc9258','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9264','19b76daa800760e819bc9263','19b76daa800760e819bc924f','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9266','19b76daa800760e819bc9265','19b76daa800760e819bc9252','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9268','19b76daa800760e819bc9267','19b76daa800760e819bc9255','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc926a','19b76daa800760e819bc9269','19b76daa800760e819bc9258','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc926c','19b76daa800760e819bc926b','19b76daa800760e819bc924f','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc926e','19b76daa800760e819bc926d','19b76daa800760e819bc9252','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9270','19b76daa800760e819bc926f','19b76daa800760e819bc9255','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9272','19b76daa800760e819bc9271','19b76daa800760e819bc9258','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9274','19b76daa800760e819bc9273','19b76daa800760e819bc924f','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9276','19b76daa800760e819bc9275','19b76daa800760e819bc9252','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9278','19b76daa800760e819bc9277','19b76daa800760e819bc9255','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc927a','19b76daa800760e819bc9279','19b76daa800760e819bc9258','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc927c','19b76daa800760e819bc927b','19b76daa800760e819bc924f','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc927e','19b76daa800760e819bc927d','19b76daa800760e819bc9252','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9280','19b76daa800760e819bc927f','19b76daa800760e819bc9255','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9282','19b76daa800760e819bc9281','19b76daa800760e819bc9258','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9284','19b76daa800760e819bc9283','19b76daa800760e819bc924f','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9286','19b76daa800760e819bc9285','19b76daa800760e819bc9252','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9288','19b76daa800760e819bc9287','19b76daa800760e819bc9255','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc928a','19b76daa800760e819bc9289','19b76daa800760e819bc9258','a run',1767225600000);
CREATE TABLE leaderboards_entry (
  entry_id TEXT NOT NULL PRIMARY KEY,
  board_id TEXT NOT NULL REFERENCES leaderboards_board (board_id),
  member_id TEXT NOT NULL,
  key REAL NOT NULL,
  submitted_at_ms INTEGER NOT NULL,
  verified_at_ms INTEGER,
  verified_by TEXT
) WITHOUT ROWID;
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc925b','every','19b76daa800760e819bc924f',0.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc925d','every','19b76daa800760e819bc9252',-7.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc925f','every','19b76daa800760e819bc9255',-4.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9261','every','19b76daa800760e819bc9258',-1.0,1767225600000,NULL,NULL);
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9263','every','19b76daa800760e819bc924f',-8.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9265','every','19b76daa800760e819bc9252',-5.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9267','every','19b76daa800760e819bc9255',-2.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9269','every','19b76daa800760e819bc9258',-9.0,1767225600000,NULL,NULL);
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc926b','every','19b76daa800760e819bc924f',-6.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc926d','every','19b76daa800760e819bc9252',-3.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc926f','every','19b76daa800760e819bc9255',0.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9271','every','19b76daa800760e819bc9258',-7.0,1767225600000,NULL,NULL);
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9273','best','19b76daa800760e819bc924f',0.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9275','best','19b76daa800760e819bc9252',-7.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9277','best','19b76daa800760e819bc9255',-4.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9279','best','19b76daa800760e819bc9258',-1.0,1767225600000,NULL,NULL);
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc927b','best','19b76daa800760e819bc924f',-8.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc927d','best','19b76daa800760e819bc9252',-5.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc927f','best','19b76daa800760e819bc9255',-2.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9281','best','19b76daa800760e819bc9258',-9.0,1767225600000,NULL,NULL);
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9283','best','19b76daa800760e819bc924f',-6.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9285','best','19b76daa800760e819bc9252',-3.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9287','best','19b76daa800760e819bc9255',0.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9289','best','19b76daa800760e819bc9258',-7.0,1767225600000,NULL,NULL);
CREATE TABLE leaderboards_rank (
  board_id TEXT NOT NULL,
  key REAL NOT NULL,
  submitted_at_ms INTEGER NOT NULL,
  entry_id TEXT NOT NULL,
  PRIMARY KEY (board_id, key, submitted_at_ms, entry_id)
) WITHOUT ROWID, STRICT;
INSERT INTO "leaderboards_rank" VALUES('best',-8.0,1767225600000,'19b76daa800760e819bc927b');
INSERT INTO "leaderboards_rank" VALUES('best',-7.0,1767225600000,'19b76daa800760e819bc9275');
INSERT INTO "leaderboards_rank" VALUES('best',-4.0,1767225600000,'19b76daa800760e819bc9277');
INSERT INTO "leaderboards_rank" VALUES('every',-8.0,1767225600000,'19b76daa800760e819bc9263');
INSERT INTO "leaderboards_rank" VALUES('every',-7.0,1767225600000,'19b76daa800760e819bc925d');
INSERT INTO "leaderboards_rank" VALUES('every',-6.0,1767225600000,'19b76daa800760e819bc926b');
INSERT INTO "leaderboards_rank" VALUES('every',-5.0,1767225600000,'19b76daa800760e819bc9265');
INSERT INTO "leaderboards_rank" VALUES('every',-4.0,1767225600000,'19b76daa800760e819bc925f');
INSERT INTO "leaderboards_rank" VALUES('every',-3.0,1767225600000,'19b76daa800760e819bc926d');
INSERT INTO "leaderboards_rank" VALUES('every',-2.0,1767225600000,'19b76daa800760e819bc9267');
INSERT INTO "leaderboards_rank" VALUES('every',0.0,1767225600000,'19b76daa800760e819bc925b');
INSERT INTO "leaderboards_rank" VALUES('every',0.0,1767225600000,'19b76daa800760e819bc926f');
CREATE TABLE leaderboards_rank_bucket (
  board_id TEXT NOT NULL,
  level INTEGER NOT NULL,
  key REAL NOT NULL,
  submitted_at_ms INTEGER NOT NULL,
  entry_id TEXT NOT NULL,
  group_key REAL NOT NULL,
  group_submitted_at_ms INTEGER NOT NULL,
  group_entry_id TEXT NOT NULL,
  row_count INTEGER NOT NULL,
  PRIMARY KEY (board_id, level, key, submitted_at_ms, entry_id)
) WITHOUT ROWID, STRICT;
INSERT INTO "leaderboards_rank_bucket" VALUES('best',0,-9e999,0,'',-9e999,0,'',3);
INSERT INTO "leaderboards_rank_bucket" VALUES('best',1,-9e999,0,'',-9e999,0,'',3);
INSERT INTO "leaderboards_rank_bucket" VALUES('every',0,-9e999,0,'',-9e999,0,'',9);
INSERT INTO "leaderboards_rank_bucket" VALUES('every',1,-9e999,0,'',-9e999,0,'',9);
CREATE TABLE leaderboards_standing (
  board_id TEXT NOT NULL,
  member_id TEXT NOT NULL,
  key REAL NOT NULL,
  submitted_at_ms INTEGER NOT NULL,
  entry_id TEXT NOT NULL,
  PRIMARY KEY (board_id, member_id)
) WITHOUT ROWID;
INSERT INTO "leaderboards_standing" VALUES('best','19b76daa800760e819bc924f',-8.0,1767225600000,'19b76daa800760e819bc927b');
INSERT INTO "leaderboards_standing" VALUES('best','19b76daa800760e819bc9252',-7.0,1767225600000,'19b76daa800760e819bc9275');
INSERT INTO "leaderboards_standing" VALUES('best','19b76daa800760e819bc9255',-4.0,1767225600000,'19b76daa800760e819bc9277');
CREATE INDEX identity_session_ended ON identity_session (ended_at_ms)
  WHERE ended_at_ms IS NOT NULL;
CREATE INDEX identity_session_member ON identity_session (member_id);
CREATE INDEX leaderboards_entry_verified
  ON leaderboards_entry (board_id, member_id, key, submitted_at_ms, entry_id)
  WHERE verified_at_ms IS NOT NULL;
CREATE INDEX leaderboards_entry_waiting
  ON leaderboards_entry (board_id, entry_id, member_id)
  WHERE verified_at_ms IS NULL;
CREATE INDEX leaderboards_comment_entry ON leaderboards_comment (entry_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('action_event',54);
INSERT INTO "sqlite_sequence" VALUES('access_audit',59);
COMMIT;
