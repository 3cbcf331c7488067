BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0013');
CREATE TABLE evaluations (
	id INTEGER NOT NULL, 
	search_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	student_id INTEGER NOT NULL, 
	rung INTEGER NOT NULL, 
	epochs DOUBLE NOT NULL, 
	"key" VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	metrics JSON, 
	seconds DOUBLE, 
	reason VARCHAR, 
	worker VARCHAR, 
	created_at DATETIME NOT NULL, 
	finished_at DATETIME, fault VARCHAR, epoch_seconds DOUBLE, 
	CONSTRAINT pk_evaluations PRIMARY KEY (id), 
	CONSTRAINT fk_evaluations_search_id FOREIGN KEY(search_id) REFERENCES searches (id), 
	CONSTRAINT fk_evaluations_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id), 
	CONSTRAINT fk_evaluations_student_id FOREIGN KEY(student_id) REFERENCES students (id), 
	CONSTRAINT uq_evaluations_student_id_rung UNIQUE (student_id, rung), 
	CONSTRAINT ck_evaluations_state CHECK (state IN ('running', 'complete', 'failed'))
);
INSERT INTO "evaluations" VALUES(1,1,1,1,0,1.0,'k0','complete','{"accuracy": 0.30000000000000004}',1.5,NULL,'host:1','2026-11-24 08:05:21.223082','2026-11-24 08:05:21.230536',NULL,NULL);
CREATE TABLE events (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	search_id INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	kind VARCHAR NOT NULL, 
	payload JSON NOT NULL, 
	CONSTRAINT fk_events_search_id FOREIGN KEY(search_id) REFERENCES searches (id)
);
INSERT INTO "events" VALUES(1,1,'2026-11-24 08:05:21.194433','search_created','{"name": "old"}');
INSERT INTO "events" VALUES(2,1,'2026-11-24 08:05:21.203158','lease_acquired','{"token": 1, "host": "vm", "pid": 8717, "before": null}');
INSERT INTO "events" VALUES(3,1,'2026-11-24 08:05:21.209813','trial_opened','{"trial": 0}');
INSERT INTO "events" VALUES(4,1,'2026-11-24 08:05:21.215370','student_added','{"trial": 0, "replicate": 0, "purpose": "search", "digest": "a0"}');
INSERT INTO "events" VALUES(5,1,'2026-11-24 08:05:21.223680','evaluation_opened','{"evaluation": 1, "student": 1, "rung": 0, "again": false}');
INSERT INTO "events" VALUES(6,1,'2026-11-24 08:05:21.230549','evaluation_finished','{"evaluation": 1, "rung": 0, "metrics": {"accuracy": 0.30000000000000004}}');
INSERT INTO "events" VALUES(7,1,'2026-11-24 08:05:21.234830','trial_finished','{"trial": 0, "state": "complete", "value": 0.30000000000000004, "reason": null}');
INSERT INTO "events" VALUES(8,1,'2026-11-24 08:05:21.237767','lease_released','{"token": 1}');
CREATE TABLE jobs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	search VARCHAR NOT NULL, 
	config JSON, 
	priority INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	reason VARCHAR, 
	starts INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	lease_host VARCHAR, 
	lease_machine VARCHAR, 
	lease_pid INTEGER, 
	lease_process_started DOUBLE, 
	lease_heartbeat_at DATETIME, trains BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT ck_jobs_state CHECK (state IN ('waiting', 'running', 'done', 'stopped', 'failed', 'cancelled'))
);
INSERT INTO "jobs" VALUES(1,'old',NULL,0,'done',NULL,1,'2026-01-01 00:00:00.000000',NULL,NULL,NULL,NULL,NULL,0);
CREATE TABLE leftovers (
	folder VARCHAR NOT NULL, 
	CONSTRAINT pk_leftovers PRIMARY KEY (folder)
);
CREATE TABLE searches (
	id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	seed INTEGER NOT NULL, 
	config JSON NOT NULL, 
	config_digest VARCHAR NOT NULL, 
	facts JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	lease_token INTEGER NOT NULL, 
	lease_host VARCHAR, 
	lease_machine VARCHAR, 
	lease_pid INTEGER, 
	lease_process_started DOUBLE, 
	lease_heartbeat_at DATETIME, stop VARCHAR, 
	CONSTRAINT pk_searches PRIMARY KEY (id), 
	CONSTRAINT uq_searches_name UNIQUE (name), 
	CONSTRAINT ck_searches_status CHECK (status IN ('created', 'running', 'interrupted', 'finished', 'failed'))
);
INSERT INTO "searches" VALUES(1,'old','created',11,'{"space": "nago", "loss": {"__float__": "nan"}}','c0','{"versions": {"autokd": "0.1.0"}}','2026-11-24 08:05:21.189528','2026-11-24 08:05:21.233784',2,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE students (
	id INTEGER NOT NULL, 
	search_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	replicate INTEGER NOT NULL, 
	purpose VARCHAR NOT NULL, 
	digest VARCHAR NOT NULL, 
	architecture JSON NOT NULL, 
	params INTEGER NOT NULL, 
	macs INTEGER NOT NULL, 
	activation_bytes INTEGER NOT NULL, 
	model_bytes INTEGER NOT NULL, warm_from VARCHAR, 
	CONSTRAINT pk_students PRIMARY KEY (id), 
	CONSTRAINT fk_students_search_id FOREIGN KEY(search_id) REFERENCES searches (id), 
	CONSTRAINT fk_students_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id), 
	CONSTRAINT uq_students_trial_id_purpose_replicate UNIQUE (trial_id, purpose, replicate), 
	CONSTRAINT ck_students_purpose CHECK (purpose IN ('search', 'final'))
);
INSERT INTO "students" VALUES(1,1,1,0,'search','a0','{"nodes": []}',1,2,3,4,'k0');
CREATE TABLE trials (
	id INTEGER NOT NULL, 
	search_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	parameters JSON NOT NULL, 
	state VARCHAR NOT NULL, 
	value DOUBLE, 
	reason VARCHAR, 
	created_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	finish_order INTEGER, opened_after INTEGER DEFAULT '0' NOT NULL, reference VARCHAR, costs JSON, rung INTEGER, seconds DOUBLE, at_chance BOOLEAN, 
	CONSTRAINT pk_trials PRIMARY KEY (id), 
	CONSTRAINT fk_trials_search_id FOREIGN KEY(search_id) REFERENCES searches (id), 
	CONSTRAINT uq_trials_search_id_number UNIQUE (search_id, number), 
	CONSTRAINT uq_trials_search_id_finish_order UNIQUE (search_id, finish_order), 
	CONSTRAINT ck_trials_state CHECK (state IN ('running', 'complete', 'pruned', 'failed')), 
	CONSTRAINT ck_trials_finish_order CHECK ((state = 'running') = (finish_order IS NULL))
);
INSERT INTO "trials" VALUES(1,1,0,'{"temperature": 4.0}','complete',3.00000000000000044408e-01,NULL,'2026-11-24 08:05:21.209775','2026-11-24 08:05:21.234821',0,0,NULL,NULL,0,1.5,NULL);
CREATE INDEX ix_students_final ON students (search_id, id) WHERE purpose = 'final';
CREATE INDEX ix_students_search_id ON students (search_id);
CREATE INDEX ix_evaluations_search_id ON evaluations (search_id);
CREATE INDEX ix_evaluations_trial_id ON evaluations (trial_id);
CREATE INDEX ix_events_search_id_id ON events (search_id, id);
CREATE INDEX ix_events_sessions ON events (search_id, id) WHERE kind = 'lease_acquired';
CREATE INDEX ix_jobs_state_priority_id ON jobs (state, priority, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',8);
INSERT INTO "sqlite_sequence" VALUES('jobs',1);
COMMIT;
