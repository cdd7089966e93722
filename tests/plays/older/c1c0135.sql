-- sealing key: f5b165224a58b791df6af1d8303e61cdc4bb86c3d1c427103c344c4189eb2f1e
-- head: {"head":1,"number":59,"chain":"7929aa393e3fdba8e7353becdf8decd79004d1ed877d6253059b165a265e7e1c","sealed_at_ms":1767225600000,"at_ms":1767225600000,"hall":"https://hall.test","public_key":"b3fd0179a6eb1a3a91e624389cc3e1d8df77878be7a714a45957ed45d091ab46","signature":"dc1425aa4b749fc030a23b12d7253b0273951f9389d73b1302154cbcf44447303392ca4e621ce9503c15028da0464f316a7553592f0ce263ad764cd5e83d7702"}
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
INSERT INTO "access_audit" VALUES(4,1767225600000,'19b76daa800760e819bc9250','identity.register','','done','198.51.100.3','8d82ca63d24');
INSERT INTO "access_audit" VALUES(5,1767225600000,'19b76daa800760e819bc9250','identity.open_session','member/19b76daa800760e819bc9250','done','198.51.100.4','8d82ca63d25');
INSERT INTO "access_audit" VALUES(6,1767225600000,'19b76daa800760e819bc9254','identity.register','','done','198.51.100.5','8d82ca63d26');
INSERT INTO "access_audit" VALUES(7,1767225600000,'19b76daa800760e819bc9254','identity.open_session','member/19b76daa800760e819bc9254','done','198.51.100.6','8d82ca63d27');
INSERT INTO "access_audit" VALUES(8,1767225600000,'19b76daa800760e819bc9258','identity.register','','done','198.51.100.7','8d82ca63d28');
INSERT INTO "access_audit" VALUES(9,1767225600000,'19b76daa800760e819bc9258','identity.open_session','member/19b76daa800760e819bc9258','done','198.51.100.8','8d82ca63d29');
INSERT INTO "access_audit" VALUES(10,1767225600000,'19b76daa800760e819bc925c','identity.register','','done','198.51.100.9','8d82ca63d2a');
INSERT INTO "access_audit" VALUES(11,1767225600000,'19b76daa800760e819bc925c','identity.open_session','member/19b76daa800760e819bc925c','done','198.51.100.10','8d82ca63d2b');
INSERT INTO "access_audit" VALUES(12,1767225600000,'19b76daa800760e819bc924c','access.define_role','','done','192.0.2.1','8d82ca63d2c');
INSERT INTO "access_audit" VALUES(13,1767225600000,'19b76daa800760e819bc924c','access.grant_role','','done','192.0.2.1','8d82ca63d2d');
INSERT INTO "access_audit" VALUES(14,1767225600000,'room:leaderboards for 19b76daa800760e819bc924c','access.grant_role','board/every','done','192.0.2.1','8d82ca63d2f');
INSERT INTO "access_audit" VALUES(15,1767225600000,'19b76daa800760e819bc924c','leaderboards.create_board','','done','192.0.2.1','8d82ca63d2f');
INSERT INTO "access_audit" VALUES(16,1767225600000,'19b76daa800760e819bc9250','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d210');
INSERT INTO "access_audit" VALUES(17,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d211');
INSERT INTO "access_audit" VALUES(18,1767225600000,'19b76daa800760e819bc9254','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d212');
INSERT INTO "access_audit" VALUES(19,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d213');
INSERT INTO "access_audit" VALUES(20,1767225600000,'19b76daa800760e819bc9258','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d214');
INSERT INTO "access_audit" VALUES(21,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d215');
INSERT INTO "access_audit" VALUES(22,1767225600000,'19b76daa800760e819bc925c','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d216');
INSERT INTO "access_audit" VALUES(23,1767225600000,'19b76daa800760e819bc9250','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d217');
INSERT INTO "access_audit" VALUES(24,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d218');
INSERT INTO "access_audit" VALUES(25,1767225600000,'19b76daa800760e819bc9254','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d219');
INSERT INTO "access_audit" VALUES(26,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d21a');
INSERT INTO "access_audit" VALUES(27,1767225600000,'19b76daa800760e819bc9258','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d21b');
INSERT INTO "access_audit" VALUES(28,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d21c');
INSERT INTO "access_audit" VALUES(29,1767225600000,'19b76daa800760e819bc925c','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d21d');
INSERT INTO "access_audit" VALUES(30,1767225600000,'19b76daa800760e819bc9250','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d21e');
INSERT INTO "access_audit" VALUES(31,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d21f');
INSERT INTO "access_audit" VALUES(32,1767225600000,'19b76daa800760e819bc9254','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d220');
INSERT INTO "access_audit" VALUES(33,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d221');
INSERT INTO "access_audit" VALUES(34,1767225600000,'19b76daa800760e819bc9258','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d222');
INSERT INTO "access_audit" VALUES(35,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/every','done','192.0.2.1','8d82ca63d223');
INSERT INTO "access_audit" VALUES(36,1767225600000,'19b76daa800760e819bc925c','leaderboards.submit_score','board/every','done','192.0.2.1','8d82ca63d224');
INSERT INTO "access_audit" VALUES(37,1767225600000,'room:leaderboards for 19b76daa800760e819bc924c','access.grant_role','board/best','done','192.0.2.1','8d82ca63d225');
INSERT INTO "access_audit" VALUES(38,1767225600000,'19b76daa800760e819bc924c','leaderboards.create_board','','done','192.0.2.1','8d82ca63d225');
INSERT INTO "access_audit" VALUES(39,1767225600000,'19b76daa800760e819bc9250','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d226');
INSERT INTO "access_audit" VALUES(40,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d227');
INSERT INTO "access_audit" VALUES(41,1767225600000,'19b76daa800760e819bc9254','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d228');
INSERT INTO "access_audit" VALUES(42,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d229');
INSERT INTO "access_audit" VALUES(43,1767225600000,'19b76daa800760e819bc9258','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d22a');
INSERT INTO "access_audit" VALUES(44,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d22b');
INSERT INTO "access_audit" VALUES(45,1767225600000,'19b76daa800760e819bc925c','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d22c');
INSERT INTO "access_audit" VALUES(46,1767225600000,'19b76daa800760e819bc9250','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d22d');
INSERT INTO "access_audit" VALUES(47,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d22e');
INSERT INTO "access_audit" VALUES(48,1767225600000,'19b76daa800760e819bc9254','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d22f');
INSERT INTO "access_audit" VALUES(49,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d230');
INSERT INTO "access_audit" VALUES(50,1767225600000,'19b76daa800760e819bc9258','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d231');
INSERT INTO "access_audit" VALUES(51,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d232');
INSERT INTO "access_audit" VALUES(52,1767225600000,'19b76daa800760e819bc925c','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d233');
INSERT INTO "access_audit" VALUES(53,1767225600000,'19b76daa800760e819bc9250','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d234');
INSERT INTO "access_audit" VALUES(54,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d235');
INSERT INTO "access_audit" VALUES(55,1767225600000,'19b76daa800760e819bc9254','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d236');
INSERT INTO "access_audit" VALUES(56,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d237');
INSERT INTO "access_audit" VALUES(57,1767225600000,'19b76daa800760e819bc9258','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d238');
INSERT INTO "access_audit" VALUES(58,1767225600000,'19b76daa800760e819bc924c','leaderboards.verify_entry','board/best','done','192.0.2.1','8d82ca63d239');
INSERT INTO "access_audit" VALUES(59,1767225600000,'19b76daa800760e819bc925c','leaderboards.submit_score','board/best','done','192.0.2.1','8d82ca63d23a');
CREATE TABLE access_ban (
  member_id TEXT NOT NULL,
  path TEXT NOT NULL,
  reason TEXT NOT NULL,
  banned_by TEXT NOT NULL,
  banned_at_ms INTEGER NOT NULL,
  until_ms INTEGER,
  PRIMARY KEY (member_id, path)
) WITHOUT ROWID;
CREATE TABLE access_binding (
  subject TEXT NOT NULL,
  path TEXT NOT NULL,
  role TEXT NOT NULL,
  granted_by TEXT NOT NULL,
  granted_at_ms INTEGER NOT NULL,
  PRIMARY KEY (subject, path, role)
) WITHOUT ROWID;
INSERT INTO "access_binding" VALUES('19b76daa800760e819bc924c','','administrator','19b76daa800760e819bc924c',1767225600000);
INSERT INTO "access_binding" VALUES('19b76daa800760e819bc9250','','greeter','19b76daa800760e819bc924c',1767225600000);
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
CREATE TABLE access_head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  head_count INTEGER NOT NULL,
  number INTEGER NOT NULL,
  at_ms INTEGER NOT NULL
);
INSERT INTO "access_head" VALUES(1,1,59,1767225600000);
CREATE TABLE access_role (
  name TEXT NOT NULL PRIMARY KEY,
  permissions TEXT NOT NULL,
  summary TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "access_role" VALUES('greeter','["members:read"]','',1767225600000);
CREATE TABLE access_seal (
  after_number INTEGER PRIMARY KEY,
  last_number INTEGER NOT NULL,
  row_count INTEGER NOT NULL,
  latest_at_ms INTEGER NOT NULL,
  sealed_at_ms INTEGER NOT NULL,
  chain BLOB NOT NULL,
  tags BLOB NOT NULL,
  mac BLOB NOT NULL
);
INSERT INTO "access_seal" VALUES(0,59,59,1767225600000,1767225600000,X'7929AA393E3FDBA8E7353BECDF8DECD79004D1ED877D6253059B165A265E7E1C',X'0000000000000001C3917C30129C5A6D000000000000000159687EAF3E5A54010000000000000001AC0E2B60A27CA53D00000000000000018B93F02A81590CE900000000000000014C52947887FB20620000000000000001DF5DCD593774FB930000000000000001C90864E809D71B5700000000000000012C29D926C7B9C2F80000000000000001B8E067702B4C63030000000000000001B6EFCC28C24EAF990000000000000001B4C16F924CDFB9080000000000000001DA71E2B16D30CAA7000000000000000132A2BED63EE898A00000000000000001F86CF675286F26AC000000000000000170DA2AED741219FE0000000000000001A9C7D582AE16792000000000000000010230E237687FCDBC00000000000000017E8BAA1D03AB45900000000000000001BD2D2E2C0F06AF2300000000000000018FCC42F0A0642E3B000000000000000191E44C0DECE9D136000000000000000140E45A3D197C65BB00000000000000017D5C19EEF1A0FE8300000000000000013A7B575A3245EE3D00000000000000012575F4C199F0226A0000000000000001B8CF0156524AA6ED000000000000000196298CBFB39405CD00000000000000019863D702D377391F0000000000000001EA36F1EC8C5D50AF00000000000000014024899E5080D0FE000000000000000169C24BFBAA5F0C59000000000000000126607CD47B11BFA3000000000000000146E8C6B7B1D9E2700000000000000001F572AA4CC901097000000000000000014BE67572FF7850300000000000000001552E355B58F087530000000000000001C0B1F2E3C08AB39000000000000000019F3911CD239F49A50000000000000001919A5F5850EC092E0000000000000001DF7AE37CBEC0AF1C0000000000000001709AD52B03CAF5AC0000000000000001786094BEBD2EFC990000000000000001FEE4B890D65C5FB70000000000000001FF01DCDE700FA8B60000000000000001D060A88F7C8DFBAF0000000000000001BC3015E5ABFBB2A50000000000000001DB5FB209A46B6E3E0000000000000001BF0099903A5025CA00000000000000014675F4921885A7DA00000000000000016210AC1BE26B4FCB00000000000000016F6338818F83DBCF0000000000000001A3A11B89653CCAE400000000000000014D809E8F7A0BAC8F000000000000000123177EDF503DAB0D00000000000000011CA9D3F1E22CED420000000000000001802076FE73709BF10000000000000001F979559C10AAA6D3000000000000000190E8305803E3D39A00000000000000017929AA393E3FDBA8',X'2605DCC7E325A343DD750DE3A27E46A6EC0339A73813C06A0AD28A77977853DE');
CREATE TABLE access_team (
  team TEXT NOT NULL PRIMARY KEY,
  summary TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE access_team_member (
  team TEXT NOT NULL,
  member_id TEXT NOT NULL,
  added_by TEXT NOT NULL,
  added_at_ms INTEGER NOT NULL,
  PRIMARY KEY (team, member_id)
) WITHOUT ROWID;
CREATE TABLE action_event (
  cursor INTEGER PRIMARY KEY AUTOINCREMENT,
  stream TEXT NOT NULL,
  seq INTEGER NOT NULL,
  kind TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  data TEXT NOT NULL,
  UNIQUE (stream, seq)
);
INSERT INTO "action_event" VALUES(1,'identity',1,'identity.member_registered',1767225600000,'{"member_id":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(2,'access',1,'access.role_granted',1767225600000,'{"subject":"19b76daa800760e819bc924c","role":"administrator","at":""}');
INSERT INTO "action_event" VALUES(3,'identity',2,'identity.member_registered',1767225600000,'{"member_id":"19b76daa800760e819bc9250"}');
INSERT INTO "action_event" VALUES(4,'identity',3,'identity.member_registered',1767225600000,'{"member_id":"19b76daa800760e819bc9254"}');
INSERT INTO "action_event" VALUES(5,'identity',4,'identity.member_registered',1767225600000,'{"member_id":"19b76daa800760e819bc9258"}');
INSERT INTO "action_event" VALUES(6,'identity',5,'identity.member_registered',1767225600000,'{"member_id":"19b76daa800760e819bc925c"}');
INSERT INTO "action_event" VALUES(7,'access',2,'access.role_defined',1767225600000,'{"name":"greeter","permissions":["members:read"]}');
INSERT INTO "action_event" VALUES(8,'access',3,'access.role_granted',1767225600000,'{"subject":"19b76daa800760e819bc9250","role":"greeter","at":""}');
INSERT INTO "action_event" VALUES(9,'access',4,'access.role_granted',1767225600000,'{"subject":"everyone","role":"board_writer","at":"board/every"}');
INSERT INTO "action_event" VALUES(10,'board/every',1,'leaderboards.board_created',1767225600000,'{"board_id":"every","name":"The every board"}');
INSERT INTO "action_event" VALUES(11,'board/every/moderation',1,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9260","member_id":"19b76daa800760e819bc9250","score":0.0}');
INSERT INTO "action_event" VALUES(12,'board/every',2,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9260","member_id":"19b76daa800760e819bc9250","score":0.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(13,'board/every/moderation',2,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9262","member_id":"19b76daa800760e819bc9254","score":7.0}');
INSERT INTO "action_event" VALUES(14,'board/every',3,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9262","member_id":"19b76daa800760e819bc9254","score":7.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(15,'board/every/moderation',3,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9264","member_id":"19b76daa800760e819bc9258","score":4.0}');
INSERT INTO "action_event" VALUES(16,'board/every',4,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9264","member_id":"19b76daa800760e819bc9258","score":4.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(17,'board/every/moderation',4,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9266","member_id":"19b76daa800760e819bc925c","score":1.0}');
INSERT INTO "action_event" VALUES(18,'board/every/moderation',5,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9268","member_id":"19b76daa800760e819bc9250","score":8.0}');
INSERT INTO "action_event" VALUES(19,'board/every',5,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9268","member_id":"19b76daa800760e819bc9250","score":8.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(20,'board/every/moderation',6,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc926a","member_id":"19b76daa800760e819bc9254","score":5.0}');
INSERT INTO "action_event" VALUES(21,'board/every',6,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc926a","member_id":"19b76daa800760e819bc9254","score":5.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(22,'board/every/moderation',7,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc926c","member_id":"19b76daa800760e819bc9258","score":2.0}');
INSERT INTO "action_event" VALUES(23,'board/every',7,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc926c","member_id":"19b76daa800760e819bc9258","score":2.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(24,'board/every/moderation',8,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc926e","member_id":"19b76daa800760e819bc925c","score":9.0}');
INSERT INTO "action_event" VALUES(25,'board/every/moderation',9,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9270","member_id":"19b76daa800760e819bc9250","score":6.0}');
INSERT INTO "action_event" VALUES(26,'board/every',8,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9270","member_id":"19b76daa800760e819bc9250","score":6.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(27,'board/every/moderation',10,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9272","member_id":"19b76daa800760e819bc9254","score":3.0}');
INSERT INTO "action_event" VALUES(28,'board/every',9,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9272","member_id":"19b76daa800760e819bc9254","score":3.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(29,'board/every/moderation',11,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9274","member_id":"19b76daa800760e819bc9258","score":0.0}');
INSERT INTO "action_event" VALUES(30,'board/every',10,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9274","member_id":"19b76daa800760e819bc9258","score":0.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(31,'board/every/moderation',12,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9276","member_id":"19b76daa800760e819bc925c","score":7.0}');
INSERT INTO "action_event" VALUES(32,'access',5,'access.role_granted',1767225600000,'{"subject":"everyone","role":"board_writer","at":"board/best"}');
INSERT INTO "action_event" VALUES(33,'board/best',1,'leaderboards.board_created',1767225600000,'{"board_id":"best","name":"The best board"}');
INSERT INTO "action_event" VALUES(34,'board/best/moderation',1,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9278","member_id":"19b76daa800760e819bc9250","score":0.0}');
INSERT INTO "action_event" VALUES(35,'board/best',2,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9278","member_id":"19b76daa800760e819bc9250","score":0.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(36,'board/best/moderation',2,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc927a","member_id":"19b76daa800760e819bc9254","score":7.0}');
INSERT INTO "action_event" VALUES(37,'board/best',3,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc927a","member_id":"19b76daa800760e819bc9254","score":7.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(38,'board/best/moderation',3,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc927c","member_id":"19b76daa800760e819bc9258","score":4.0}');
INSERT INTO "action_event" VALUES(39,'board/best',4,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc927c","member_id":"19b76daa800760e819bc9258","score":4.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(40,'board/best/moderation',4,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc927e","member_id":"19b76daa800760e819bc925c","score":1.0}');
INSERT INTO "action_event" VALUES(41,'board/best/moderation',5,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9280","member_id":"19b76daa800760e819bc9250","score":8.0}');
INSERT INTO "action_event" VALUES(42,'board/best',5,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9280","member_id":"19b76daa800760e819bc9250","score":8.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(43,'board/best/moderation',6,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9282","member_id":"19b76daa800760e819bc9254","score":5.0}');
INSERT INTO "action_event" VALUES(44,'board/best',6,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9282","member_id":"19b76daa800760e819bc9254","score":5.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(45,'board/best/moderation',7,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9284","member_id":"19b76daa800760e819bc9258","score":2.0}');
INSERT INTO "action_event" VALUES(46,'board/best',7,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9284","member_id":"19b76daa800760e819bc9258","score":2.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(47,'board/best/moderation',8,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9286","member_id":"19b76daa800760e819bc925c","score":9.0}');
INSERT INTO "action_event" VALUES(48,'board/best/moderation',9,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc9288","member_id":"19b76daa800760e819bc9250","score":6.0}');
INSERT INTO "action_event" VALUES(49,'board/best',8,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc9288","member_id":"19b76daa800760e819bc9250","score":6.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(50,'board/best/moderation',10,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc928a","member_id":"19b76daa800760e819bc9254","score":3.0}');
INSERT INTO "action_event" VALUES(51,'board/best',9,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc928a","member_id":"19b76daa800760e819bc9254","score":3.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(52,'board/best/moderation',11,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc928c","member_id":"19b76daa800760e819bc9258","score":0.0}');
INSERT INTO "action_event" VALUES(53,'board/best',10,'leaderboards.entry_verified',1767225600000,'{"entry_id":"19b76daa800760e819bc928c","member_id":"19b76daa800760e819bc9258","score":0.0,"verified_by":"19b76daa800760e819bc924c"}');
INSERT INTO "action_event" VALUES(54,'board/best/moderation',12,'leaderboards.score_submitted',1767225600000,'{"entry_id":"19b76daa800760e819bc928e","member_id":"19b76daa800760e819bc925c","score":7.0}');
CREATE TABLE action_migration (
  room TEXT NOT NULL, number BIGINT NOT NULL, name TEXT NOT NULL,
  digest TEXT NOT NULL, applied_at_ms BIGINT NOT NULL, PRIMARY KEY (room, number));
INSERT INTO "action_migration" VALUES('action',1,'framework','47ca6039bca8252102dd1ff3b8a6de49',1767225600000);
INSERT INTO "action_migration" VALUES('access',1,'access','4d2ac05aa9dfd18067c04fa6ffe6d920',1767225600000);
INSERT INTO "action_migration" VALUES('access',2,'access','6ef60be0991b7308d7bb80445cda40ca',1767225600000);
INSERT INTO "action_migration" VALUES('access',3,'audit','2d73a95a70fd7c39696b29d765c7060b',1767225600000);
INSERT INTO "action_migration" VALUES('identity',1,'identity','1bb706c056a6de4cd518dfffa713270d',1767225600000);
INSERT INTO "action_migration" VALUES('identity',2,'registration','c4370571bea444d353528a6a900eba74',1767225600000);
INSERT INTO "action_migration" VALUES('identity',3,'lockout','779e434178929b64c9a71f4922dad4ca',1767225600000);
INSERT INTO "action_migration" VALUES('identity',4,'sessions','ca3520a402774ef25bd1a6e06a3eadc8',1767225600000);
INSERT INTO "action_migration" VALUES('identity',5,'removal','b5cb8429b06ed51c79819d2e47dd4b88',1767225600000);
INSERT INTO "action_migration" VALUES('leaderboards',1,'board','f3f740c22e2fbd677192e19da4ffb362',1767225600000);
INSERT INTO "action_migration" VALUES('leaderboards',2,'rank','e3737d885779d2f6c028ee1ef3af1527',1767225600000);
INSERT INTO "action_migration" VALUES('leaderboards',3,'removed_members','e12f41188b14465e48a7e15d44f2006c',1767225600000);
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
CREATE TABLE identity_audience (
  audience TEXT NOT NULL PRIMARY KEY,
  summary TEXT NOT NULL,
  added_by TEXT NOT NULL,
  added_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE identity_budget (
  hour INTEGER NOT NULL,
  kind TEXT NOT NULL,
  source TEXT NOT NULL,
  used INTEGER NOT NULL,
  PRIMARY KEY (hour, kind, source)
) WITHOUT ROWID;
INSERT INTO "identity_budget" VALUES(490896,'accounts','',5);
INSERT INTO "identity_budget" VALUES(490896,'accounts','198.51.100.1',1);
INSERT INTO "identity_budget" VALUES(490896,'accounts','198.51.100.3',1);
INSERT INTO "identity_budget" VALUES(490896,'accounts','198.51.100.5',1);
INSERT INTO "identity_budget" VALUES(490896,'accounts','198.51.100.7',1);
INSERT INTO "identity_budget" VALUES(490896,'accounts','198.51.100.9',1);
CREATE TABLE identity_contact (
  address_key TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  address TEXT NOT NULL,
  member_id TEXT NOT NULL REFERENCES identity_member (member_id),
  verified_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE identity_contact_code (
  owner TEXT NOT NULL,
  address_key TEXT NOT NULL,
  address TEXT NOT NULL,
  digest TEXT NOT NULL,
  wrong_guesses INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  PRIMARY KEY (owner, address_key)
) WITHOUT ROWID;
CREATE TABLE identity_invitation (
  invitation_id TEXT NOT NULL PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE,
  invited_by TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  uses_max INTEGER NOT NULL,
  uses_left INTEGER NOT NULL,
  revoked_at_ms INTEGER
) WITHOUT ROWID;
CREATE TABLE identity_key (
  kid TEXT NOT NULL PRIMARY KEY,
  sealed_hex TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  retired_at_ms INTEGER
, begins_at_ms INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO "identity_key" VALUES('7bd5d47e446fcec2','a3d811736110e5781bcccea60f41d6753acdfff8590b57d5fdba8381af2833aa74fafa3d48089311d240f05f9bd6ef37c5bfffaa755750b73f76db3d',1767225600000,NULL,1767225600000);
CREATE TABLE identity_lockout (
  member_id TEXT NOT NULL PRIMARY KEY REFERENCES identity_member (member_id),
  series TEXT NOT NULL,
  guesses INTEGER NOT NULL,
  guessed_at_ms INTEGER NOT NULL,
  locked_until_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE identity_member (
  member_id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  name_key TEXT NOT NULL UNIQUE,
  password_hash TEXT,
  created_at_ms INTEGER NOT NULL
, skeleton TEXT, is_guest INTEGER NOT NULL DEFAULT 0, password_version INTEGER NOT NULL DEFAULT 1, removed_at_ms INTEGER, erased_at_ms INTEGER) WITHOUT ROWID;
INSERT INTO "identity_member" VALUES('19b76daa800760e819bc924c','boss','boss','cheap:7be1fe5b9a3e23566a4e181ff2dbcbe7',1767225600000,'boss',0,1,NULL,NULL);
INSERT INTO "identity_member" VALUES('19b76daa800760e819bc9250','ada','ada','cheap:7be1fe5b9a3e23566a4e181ff2dbcbe7',1767225600000,'ada',0,1,NULL,NULL);
INSERT INTO "identity_member" VALUES('19b76daa800760e819bc9254','bo','bo','cheap:7be1fe5b9a3e23566a4e181ff2dbcbe7',1767225600000,'bo',0,1,NULL,NULL);
INSERT INTO "identity_member" VALUES('19b76daa800760e819bc9258','cy','cy','cheap:7be1fe5b9a3e23566a4e181ff2dbcbe7',1767225600000,'cy',0,1,NULL,NULL);
INSERT INTO "identity_member" VALUES('19b76daa800760e819bc925c','dee','dee','cheap:7be1fe5b9a3e23566a4e181ff2dbcbe7',1767225600000,'dee',0,1,NULL,NULL);
CREATE TABLE identity_name_hold (
  name_key TEXT NOT NULL PRIMARY KEY,
  skeleton TEXT NOT NULL,
  member_id TEXT NOT NULL REFERENCES identity_member (member_id),
  until_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE identity_recovery (
  member_id TEXT NOT NULL REFERENCES identity_member (member_id),
  kind TEXT NOT NULL,
  selector TEXT NOT NULL,
  nonce TEXT NOT NULL,
  made_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  guesses INTEGER NOT NULL,
  -- Of the administrator who hands it over, or empty.
  issued_by TEXT NOT NULL,
  -- Where it is sent, or empty, and how often that may still be tried.
  address_key TEXT NOT NULL,
  sends_left INTEGER NOT NULL,
  PRIMARY KEY (member_id, kind)
) WITHOUT ROWID;
CREATE TABLE identity_session (
  session_id TEXT NOT NULL PRIMARY KEY,
  member_id TEXT NOT NULL REFERENCES identity_member (member_id),
  generation INTEGER NOT NULL,
  opened_at_ms INTEGER NOT NULL,
  rotated_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER,
  source TEXT NOT NULL
, lapses_at_ms INTEGER NOT NULL DEFAULT 0, device TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
INSERT INTO "identity_session" VALUES('19b76daa800760e819bc924e','19b76daa800760e819bc924c',1,1767225600000,1767225600000,1769817600000,NULL,'198.51.100.2',1768435200000,'');
INSERT INTO "identity_session" VALUES('19b76daa800760e819bc9252','19b76daa800760e819bc9250',1,1767225600000,1767225600000,1769817600000,NULL,'198.51.100.4',1768435200000,'');
INSERT INTO "identity_session" VALUES('19b76daa800760e819bc9256','19b76daa800760e819bc9254',1,1767225600000,1767225600000,1769817600000,NULL,'198.51.100.6',1768435200000,'');
INSERT INTO "identity_session" VALUES('19b76daa800760e819bc925a','19b76daa800760e819bc9258',1,1767225600000,1767225600000,1769817600000,NULL,'198.51.100.8',1768435200000,'');
INSERT INTO "identity_session" VALUES('19b76daa800760e819bc925e','19b76daa800760e819bc925c',1,1767225600000,1767225600000,1769817600000,NULL,'198.51.100.10',1768435200000,'');
CREATE TABLE identity_session_count (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  open INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "identity_session_count" VALUES(1,5);
CREATE TABLE identity_unknown_name (
  name_digest TEXT NOT NULL PRIMARY KEY,
  series TEXT NOT NULL,
  guesses INTEGER NOT NULL,
  guessed_at_ms INTEGER NOT NULL,
  locked_until_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE identity_unknown_name_count (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  names INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "identity_unknown_name_count" VALUES(1,0);
CREATE TABLE leaderboards_board (
  board_id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  direction TEXT NOT NULL,
  counting TEXT NOT NULL,
  default_level TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
, removed_members TEXT NOT NULL DEFAULT 'keep') WITHOUT ROWID;
INSERT INTO "leaderboards_board" VALUES('best','The best board','descending','best','write','19b76daa800760e819bc924c',1767225600000,'keep');
INSERT INTO "leaderboards_board" VALUES('every','The every board','descending','every','write','19b76daa800760e819bc924c',1767225600000,'keep');
CREATE TABLE leaderboards_comment (
  comment_id TEXT NOT NULL PRIMARY KEY,
  entry_id TEXT NOT NULL REFERENCES leaderboards_entry (entry_id) ON DELETE CASCADE,
  member_id TEXT NOT NULL,
  text TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9261','19b76daa800760e819bc9260','19b76daa800760e819bc9250','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9263','19b76daa800760e819bc9262','19b76daa800760e819bc9254','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9265','19b76daa800760e819bc9264','19b76daa800760e819bc9258','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9267','19b76daa800760e819bc9266','19b76daa800760e819bc925c','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9269','19b76daa800760e819bc9268','19b76daa800760e819bc9250','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc926b','19b76daa800760e819bc926a','19b76daa800760e819bc9254','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc926d','19b76daa800760e819bc926c','19b76daa800760e819bc9258','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc926f','19b76daa800760e819bc926e','19b76daa800760e819bc925c','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9271','19b76daa800760e819bc9270','19b76daa800760e819bc9250','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9273','19b76daa800760e819bc9272','19b76daa800760e819bc9254','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9275','19b76daa800760e819bc9274','19b76daa800760e819bc9258','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9277','19b76daa800760e819bc9276','19b76daa800760e819bc925c','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9279','19b76daa800760e819bc9278','19b76daa800760e819bc9250','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc927b','19b76daa800760e819bc927a','19b76daa800760e819bc9254','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc927d','19b76daa800760e819bc927c','19b76daa800760e819bc9258','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc927f','19b76daa800760e819bc927e','19b76daa800760e819bc925c','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9281','19b76daa800760e819bc9280','19b76daa800760e819bc9250','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9283','19b76daa800760e819bc9282','19b76daa800760e819bc9254','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9285','19b76daa800760e819bc9284','19b76daa800760e819bc9258','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9287','19b76daa800760e819bc9286','19b76daa800760e819bc925c','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc9289','19b76daa800760e819bc9288','19b76daa800760e819bc9250','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc928b','19b76daa800760e819bc928a','19b76daa800760e819bc9254','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc928d','19b76daa800760e819bc928c','19b76daa800760e819bc9258','a run',1767225600000);
INSERT INTO "leaderboards_comment" VALUES('19b76daa800760e819bc928f','19b76daa800760e819bc928e','19b76daa800760e819bc925c','a run',1767225600000);
CREATE TABLE leaderboards_entry (
  entry_id TEXT NOT NULL PRIMARY KEY,
  board_id TEXT NOT NULL REFERENCES leaderboards_board (board_id),
  member_id TEXT NOT NULL,
  key REAL NOT NULL,
  submitted_at_ms INTEGER NOT NULL,
  verified_at_ms INTEGER,
  verified_by TEXT
) WITHOUT ROWID;
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9260','every','19b76daa800760e819bc9250',0.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9262','every','19b76daa800760e819bc9254',-7.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9264','every','19b76daa800760e819bc9258',-4.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9266','every','19b76daa800760e819bc925c',-1.0,1767225600000,NULL,NULL);
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9268','every','19b76daa800760e819bc9250',-8.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc926a','every','19b76daa800760e819bc9254',-5.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc926c','every','19b76daa800760e819bc9258',-2.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc926e','every','19b76daa800760e819bc925c',-9.0,1767225600000,NULL,NULL);
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9270','every','19b76daa800760e819bc9250',-6.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9272','every','19b76daa800760e819bc9254',-3.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9274','every','19b76daa800760e819bc9258',0.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9276','every','19b76daa800760e819bc925c',-7.0,1767225600000,NULL,NULL);
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9278','best','19b76daa800760e819bc9250',0.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc927a','best','19b76daa800760e819bc9254',-7.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc927c','best','19b76daa800760e819bc9258',-4.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc927e','best','19b76daa800760e819bc925c',-1.0,1767225600000,NULL,NULL);
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9280','best','19b76daa800760e819bc9250',-8.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9282','best','19b76daa800760e819bc9254',-5.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9284','best','19b76daa800760e819bc9258',-2.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9286','best','19b76daa800760e819bc925c',-9.0,1767225600000,NULL,NULL);
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc9288','best','19b76daa800760e819bc9250',-6.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc928a','best','19b76daa800760e819bc9254',-3.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc928c','best','19b76daa800760e819bc9258',0.0,1767225600000,1767225600000,'19b76daa800760e819bc924c');
INSERT INTO "leaderboards_entry" VALUES('19b76daa800760e819bc928e','best','19b76daa800760e819bc925c',-7.0,1767225600000,NULL,NULL);
CREATE TABLE leaderboards_rank (
  board_id TEXT NOT NULL,
  key REAL NOT NULL,
  submitted_at_ms INTEGER NOT NULL,
  entry_id TEXT NOT NULL,
  PRIMARY KEY (board_id, key, submitted_at_ms, entry_id)
) WITHOUT ROWID, STRICT;
INSERT INTO "leaderboards_rank" VALUES('best',-8.0,1767225600000,'19b76daa800760e819bc9280');
INSERT INTO "leaderboards_rank" VALUES('best',-7.0,1767225600000,'19b76daa800760e819bc927a');
INSERT INTO "leaderboards_rank" VALUES('best',-4.0,1767225600000,'19b76daa800760e819bc927c');
INSERT INTO "leaderboards_rank" VALUES('every',-8.0,1767225600000,'19b76daa800760e819bc9268');
INSERT INTO "leaderboards_rank" VALUES('every',-7.0,1767225600000,'19b76daa800760e819bc9262');
INSERT INTO "leaderboards_rank" VALUES('every',-6.0,1767225600000,'19b76daa800760e819bc9270');
INSERT INTO "leaderboards_rank" VALUES('every',-5.0,1767225600000,'19b76daa800760e819bc926a');
INSERT INTO "leaderboards_rank" VALUES('every',-4.0,1767225600000,'19b76daa800760e819bc9264');
INSERT INTO "leaderboards_rank" VALUES('every',-3.0,1767225600000,'19b76daa800760e819bc9272');
INSERT INTO "leaderboards_rank" VALUES('every',-2.0,1767225600000,'19b76daa800760e819bc926c');
INSERT INTO "leaderboards_rank" VALUES('every',0.0,1767225600000,'19b76daa800760e819bc9260');
INSERT INTO "leaderboards_rank" VALUES('every',0.0,1767225600000,'19b76daa800760e819bc9274');
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
INSERT INTO "leaderboards_standing" VALUES('best','19b76daa800760e819bc9250',-8.0,1767225600000,'19b76daa800760e819bc9280');
INSERT INTO "leaderboards_standing" VALUES('best','19b76daa800760e819bc9254',-7.0,1767225600000,'19b76daa800760e819bc927a');
INSERT INTO "leaderboards_standing" VALUES('best','19b76daa800760e819bc9258',-4.0,1767225600000,'19b76daa800760e819bc927c');
CREATE INDEX access_team_member_member ON access_team_member (member_id);
CREATE INDEX access_ban_path ON access_ban (path, member_id);
CREATE INDEX access_binding_role ON access_binding (role, path);
CREATE INDEX access_binding_path ON access_binding (path);
CREATE INDEX access_seal_latest ON access_seal (latest_at_ms, after_number);
CREATE INDEX identity_session_ended ON identity_session (ended_at_ms)
  WHERE ended_at_ms IS NOT NULL;
CREATE UNIQUE INDEX identity_member_skeleton ON identity_member (skeleton);
CREATE INDEX identity_name_hold_skeleton ON identity_name_hold (skeleton);
CREATE INDEX identity_name_hold_member ON identity_name_hold (member_id);
CREATE INDEX identity_name_hold_until ON identity_name_hold (until_ms);
CREATE INDEX identity_invitation_expires ON identity_invitation (expires_at_ms);
CREATE INDEX identity_contact_member ON identity_contact (member_id);
CREATE INDEX identity_contact_code_expires ON identity_contact_code (expires_at_ms);
CREATE INDEX identity_unknown_name_lock
  ON identity_unknown_name (locked_until_ms, guessed_at_ms);
CREATE INDEX identity_recovery_unsent ON identity_recovery (made_at_ms) WHERE sends_left > 0;
CREATE INDEX identity_recovery_expiry ON identity_recovery (expires_at_ms);
CREATE INDEX identity_session_member ON identity_session (member_id, ended_at_ms);
CREATE INDEX identity_session_lapse ON identity_session (lapses_at_ms) WHERE ended_at_ms IS NULL;
CREATE INDEX identity_member_listed ON identity_member (name_key) WHERE removed_at_ms IS NULL;
CREATE INDEX identity_member_unerased ON identity_member (removed_at_ms)
  WHERE removed_at_ms IS NOT NULL AND erased_at_ms IS NULL;
CREATE INDEX leaderboards_entry_verified
  ON leaderboards_entry (board_id, member_id, key, submitted_at_ms, entry_id)
  WHERE verified_at_ms IS NOT NULL;
CREATE INDEX leaderboards_entry_waiting
  ON leaderboards_entry (board_id, entry_id, member_id)
  WHERE verified_at_ms IS NULL;
CREATE INDEX leaderboards_comment_entry ON leaderboards_comment (entry_id);
CREATE INDEX leaderboards_entry_member ON leaderboards_entry (member_id, board_id, entry_id);
CREATE INDEX leaderboards_entry_verifier ON leaderboards_entry (verified_by, entry_id)
  WHERE verified_by IS NOT NULL;
CREATE INDEX leaderboards_comment_member ON leaderboards_comment (member_id, comment_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('action_event',54);
INSERT INTO "sqlite_sequence" VALUES('access_audit',59);
COMMIT;
