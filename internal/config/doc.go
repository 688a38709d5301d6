// Package config turns flags, environment, a YAML file and defaults into one typed Config.
//
// # One table
//
// Every setting stands once, in settings.go: key, type, default, roles, range and meaning. The names derive from the key:
// worker.slots is TASKWEIR_WORKER_SLOTS in the environment and --worker-slots as a flag. Flags, validation, the tables in
// the README and in docs/configuration.md are made from that table, so they cannot disagree.
//
// # Precedence
//
// Flags over environment over file over defaults. viper keeps the layers; it holds text only, and each setting's own parser
// gives it a type. YAML scalars are taken as they are written: a key that looks like a number keeps its leading zeros. An
// empty environment variable counts as not set, so that a template may pass on what it does not have.
//
// # What is refused
//
// An unknown key in the file, an unknown TASKWEIR_* variable, a value out of range and a missing required setting are all
// named in one error, each with the place it came from; a secret's value is never part of it. A known setting of another
// role is ignored: one file or environment may serve all processes. Names that Kubernetes makes for a service called
// taskweir (TASKWEIR_SERVICE_HOST, TASKWEIR_PORT_8080_TCP, ...) and TASKWEIR_TEST_* pass.
//
// # Secrets
//
// A secret may come from a file: NAME_FILE in the environment, name_file in the YAML file, --name-file as a flag. Pure keys
// have no flag of their own, because a command line is visible to every user of the machine. Secret, SecretURL and Key
// print as [redacted] with every verb; Reveal gives the value.
package config
