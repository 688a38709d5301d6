//go:build race

package testkit

// raceDetector tells whether this program was built with the race detector.
const raceDetector = true
