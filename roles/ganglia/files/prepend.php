<?php
# Managed by Ansible (sparkfleet.ec2.ganglia)
# The pages are of PHP 5 and 7. What PHP 8 has no more, or takes for an error that ends the page, is as it was here.
# Functions that PHP has are switched off, which is what allows for others of the same name.

# A word without quotes was a text.
define('LOCALTIME', 'LOCALTIME');
define('VAL', 'VAL');

# The pages' own handler of errors wants five arguments, and PHP 8 gives it four; its own handling does.
function set_error_handler($handler, $levels = E_ALL) {
  return null;
}

function in_array($needle, $haystack, $strict = false) {
  return is_array($haystack) && array_search($needle, $haystack, $strict) !== false;
}

function count($value, $mode = COUNT_NORMAL) {
  return is_array($value) || $value instanceof Countable ? sizeof($value, $mode) : (int) ($value !== null);
}

function each(&$array) {
  $key = key($array);
  if ($key === null) {
    return false;
  }
  $value = current($array);
  next($array);
  return array(0 => $key, 'key' => $key, 1 => $value, 'value' => $value);
}

# The names of arguments counted for nothing.
function call_user_func_array($called, $arguments) {
  return call_user_func($called, ...array_values($arguments));
}
