// Package cron tells when schedules fire. It knows no clock and no storage: from an instant it gives the next one.
package cron
