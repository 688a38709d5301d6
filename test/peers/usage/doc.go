// Package usage reads what a process and all its children use: processor time and memory.
//
// Decisions. A server may be a tree of processes (PostgreSQL has one for each connection, Redis rewrites its file in a child), so
// the whole tree is summed, with what its ended children used. Memory is the proportional set size: a page that several processes
// share counts once. Linux only; on other systems the error is errors.ErrUnsupported.
package usage
