-- Runs when Postgres starts for the first time: a role and a database for Airflow, and for the metadata store. Neither
-- role can connect to the other's database, or is a superuser.
\set ON_ERROR_STOP on
\set airflow_password `cat /run/secrets/airflow_database_password`
\set mlpipe_password `cat /run/secrets/mlpipe_database_password`

CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE ROLE mlpipe LOGIN PASSWORD :'mlpipe_password';
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE mlpipe OWNER mlpipe;
REVOKE CONNECT ON DATABASE airflow, mlpipe, postgres FROM PUBLIC;
