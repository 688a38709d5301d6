// Package procstat reads what a process of this machine uses: processor time and resident memory. Linux tells both in
// /proc; on other systems the functions answer errors.ErrUnsupported.
package procstat
