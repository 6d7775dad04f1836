// Package console is what people and machines see of a pair: the verdict with
// its reasons, the outcome of a check, the HTTP answers and the metrics.
//
// Judging is pure: Facts in, Status out. What is unknown is never shown as
// good: a fact that could not be read takes the verdict down, and a number that
// nobody knows is shown as unknown, not as 0. Text and JSON come from the same
// values.
package console
